"""CLUB: an upper bound of what one latent tells of another, which training lowers.

Cheng et al., "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", ICML 2020,
https://arxiv.org/abs/2006.12013: mean_i log q(y_i | x_i) - mean_ij log q(y_j | x_i), with q a diagonal Gaussian.

Legend: B items, x and d widths of the two.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.layers.experts import two_layers


def log_likelihood(
    mean: Float[Tensor, "B d"], log_variance: Float[Tensor, "B d"], y: Float[Tensor, "B d"]
) -> Float[Tensor, " B"]:
    """log N(y; mean, variance), summed over the dimensions, without the constant."""
    return -0.5 * ((y - mean).square() * (-log_variance).exp() + log_variance).sum(1)


def bound(mean: Float[Tensor, "B d"], log_variance: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
    """The upper bound; the mean over all pairs follows from the first two moments of y."""
    squares = mean.square() - 2 * mean * y.mean(0) + y.square().mean(0)
    unpaired = -0.5 * (squares * (-log_variance).exp() + log_variance).sum(1)
    return (log_likelihood(mean, log_variance, y) - unpaired).mean()


class Club(nn.Module):
    """q(y | x), which follows the latents, and what it says that they share."""

    def __init__(self, width: int, hidden: int, told: int) -> None:
        super().__init__()
        self.network = two_layers(width, hidden, 2 * told)

    def forward(self, x: Float[Tensor, "B x"]) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        """Mean, and logarithm of the variance within e ** -4 .. e ** 4."""
        mean, spread = self.network(x).chunk(2, dim=1)
        return mean, 4 * spread.tanh()

    def follow(self, x: Float[Tensor, "B x"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """What makes q more likely; moves the network alone."""
        mean, log_variance = self(x.detach())
        return -log_likelihood(mean, log_variance, y.detach()).mean()

    def shared(self, x: Float[Tensor, "B x"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """The bound, where it is above 0; moves the latents alone."""
        fixed = {name: parameter.detach() for name, parameter in self.named_parameters()}
        mean, log_variance = torch.func.functional_call(self, fixed, (x,))
        # Below 0 it says that q is wrong, not that less is shared; latents would run away from it.
        return bound(mean, log_variance, y).clamp(min=0)
