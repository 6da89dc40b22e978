"""Variational vectors: diagonal Gaussians, and a prior that is a mixture of them (our design).

Legend: K components, D width, *B any axes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Posterior(NamedTuple):
    """Of some vectors."""

    mean: Float[Tensor, "*B D"]
    log_variance: Float[Tensor, "*B D"]


class Mixture(NamedTuple):
    """A prior: Gaussians that all vectors share, and how much of each one has."""

    log_share: Float[Tensor, "*B K"]
    mean: Float[Tensor, "K D"]
    log_variance: Float[Tensor, "K D"]

    def moments(self) -> Posterior:
        """Mean of each mixture, and the logarithm of its variance along each axis."""
        share = self.log_share.exp()
        mean = share @ self.mean
        second = share @ (self.mean.square() + self.log_variance.exp())
        return Posterior(mean, (second - mean.square()).clamp(min=1e-8).log())


def gaussian_kl(
    mean: Float[Tensor, "*B D"],
    log_variance: Float[Tensor, "*B D"],
    prior_mean: Float[Tensor, "*B D"],
    prior_log_variance: Float[Tensor, "*B D"],
) -> Float[Tensor, " *B"]:
    """KL(N(mean, variance) || N(prior_mean, prior_variance)), diagonal, summed over the axes."""
    scaled = (log_variance - prior_log_variance).exp() + (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (prior_log_variance - log_variance + scaled - 1).sum(dim=-1)


def mixture_kl(posterior: Posterior, prior: Mixture) -> Float[Tensor, " *B"]:
    """Upper bound of KL(q || mixture), -logsumexp_k(log share_k - KL(q || N_k)); exact for one component."""
    mean, log_variance = (part.unsqueeze(-2) for part in posterior)
    each = gaussian_kl(mean, log_variance, prior.mean, prior.log_variance)  # (*B, K)
    return -torch.logsumexp(prior.log_share - each, dim=-1)


def far_from_normal(prior: Mixture) -> Float[Tensor, ""]:
    """Mean distance of the components from N(0, I): holds the prior together."""
    zero = torch.zeros_like(prior.mean)
    return gaussian_kl(prior.mean, prior.log_variance, zero, zero).mean()


def entropy(share: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """Of shares, in nats: of the mean shares of many vectors it is great where all components are in use."""
    return -(share * share.clamp(min=1e-9).log()).sum()
