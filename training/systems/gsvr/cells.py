"""GSVR's vectors of (user, scenario) and (item, scenario): a distribution for each cell, and the prior of all of them.

Legend: B batch, N entities (users or items) with the unknown one, S scenarios, D width, K components of the prior.
Equations are numbered here:

    q(z | e, s) = N(mu, diag sigma^2)     mu = x_e + f(x_e, x_s, x_e * x_s, log(1 + n_es)) + r_es             (1)
    p(z | e)    = sum_k pi_e[k] N(m_k, diag s_k^2)     pi_e = softmax(G h_e / tau), the same in all scenarios  (2)
    KL(q || p) <= -logsumexp_k(log pi_e[k] - KL(q || N(m_k, diag s_k^2)))                                      (3)
    z = mu where n_es > 0, else sum_k pi_e[k] m_k                                                              (4)
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.layers.items import IdEmbedding, known
from training.layers.rows import rows
from training.layers.scenarios import scene_vectors
from training.schema import Field, size_of
from training.warm_start import Axis

_LOG_VARIANCE = (-8.0, 4.0)
_START = -3.0
"""Logarithm of the first variance, of cells as of the prior: samples narrow a cell from there. From a smaller one the
divergence widens cells first, most of all by way of log(1 + n), the largest input of the network; training is over
before that is undone, and cells of many samples are the widest."""


class Posterior(NamedTuple):
    """Of some cells."""

    mean: Float[Tensor, "B D"]
    log_variance: Float[Tensor, "B D"]


class Mixture(NamedTuple):
    """A prior: Gaussians that all entities share, and how much of each an entity has."""

    log_share: Float[Tensor, "B K"]
    mean: Float[Tensor, "K D"]
    log_variance: Float[Tensor, "K D"]

    def moments(self) -> Posterior:
        """Mean of each entity's mixture, and the logarithm of its variance along each axis."""
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


def mixture_kl(cell: Posterior, prior: Mixture) -> Float[Tensor, " B"]:
    """Upper bound of KL(q || mixture), eq. (3); exact for one component."""
    each = gaussian_kl(cell.mean[:, None], cell.log_variance[:, None], prior.mean, prior.log_variance)  # (B, K)
    return -torch.logsumexp(prior.log_share - each, dim=1)


class Prior(nn.Module):
    """Eq. (2)."""

    def __init__(self, dim: int, components: int, temperature: float) -> None:
        super().__init__()
        self.share, self.temperature = nn.Linear(dim, components), temperature
        self.mean = nn.Parameter(0.1 * torch.randn(components, dim))
        self.log_variance = nn.Parameter(torch.full((components, dim), _START))

    def forward(self, side: Float[Tensor, "B D"]) -> Mixture:
        """Of entities by what is known of them in all scenarios, whose own vectors it does not move."""
        logits = self.share(side.detach()) / self.temperature
        return Mixture(torch.log_softmax(logits, dim=1), self.mean, self.log_variance)

    def spread(self, mixture: Mixture) -> Float[Tensor, ""]:
        """Distance of the components from N(0, I), less a hundredth of the entropy of their mean shares: holds the
        prior together and its components alive."""
        zero = torch.zeros_like(self.mean)
        share = mixture.log_share.exp().mean(dim=0)
        entropy = -(share * share.clamp(min=1e-9).log()).sum()
        return gaussian_kl(self.mean, self.log_variance, zero, zero).mean() - 0.01 * entropy


class Cells(nn.Module):
    """Distributions of the cells of one side, eq. (1)."""

    counts: Int64[Tensor, " NS"]
    """Training samples of each cell."""

    def __init__(self, key: Field, scenario: Axis, dim: int, *, own: bool) -> None:
        """`own`: cells have residuals of their own, r_es."""
        super().__init__()
        self.num_scenarios, self.num_entities = size_of(scenario.fields[0]), size_of(key)
        self.entities = IdEmbedding(Axis((key,)), dim)
        nn.init.normal_(self.entities.weight, std=0.1)
        self.scenes = scene_vectors(scenario, dim)
        self.residuals = IdEmbedding(Axis((key,)), self.num_scenarios * dim) if own else None
        if self.residuals is not None:
            nn.init.zeros_(self.residuals.weight)
        self.register_buffer("counts", torch.zeros(self.num_entities * self.num_scenarios, dtype=torch.int64))

    def prepare(self, entity: np.ndarray, scenario: np.ndarray) -> None:
        """Takes entity and scenario int64 [samples] of the training part."""
        inside = np.where((scenario >= 0) & (scenario < self.num_scenarios), scenario, 0)
        cells = entity * self.num_scenarios + inside
        self.counts.copy_(torch.from_numpy(np.bincount(cells, minlength=len(self.counts))))
        per_entity = np.bincount(entity, minlength=self.num_entities)
        self.entities.prepare(per_entity)
        if self.residuals is not None:
            self.residuals.prepare(per_entity)
        self.scenes.prepare(np.bincount(inside, minlength=self.num_scenarios))

    def count(self, entity: Int[Tensor, " B"], scenario: Int[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """Training samples of these cells."""
        return rows(self.counts, self.cell(entity, scenario))

    def cell(self, entity: Int[Tensor, " B"], scenario: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Number of these cells; what is unknown is 0 on its side."""
        return known(entity, self.num_entities) * self.num_scenarios + known(scenario, self.num_scenarios)

    def shared(self, entity: Int[Tensor, " B"], base: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """x_e: an entity's vector in all scenarios, beside what else is known of it."""
        return self.entities(entity) + base

    def residual(self, entity: Int[Tensor, " B"], scenario: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """r_es; zero where cells have none of their own."""
        if self.residuals is None:
            return torch.zeros_like(self.entities(entity))
        whole = self.residuals(entity).unflatten(1, (self.num_scenarios, -1))  # (B, S, D)
        chosen = nn.functional.one_hot(known(scenario, self.num_scenarios), self.num_scenarios)
        return (whole * chosen[..., None].to(whole.dtype)).sum(dim=1)


class Inference(nn.Module):
    """The network f of eq. (1), which starts at zero."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3 * dim + 1, hidden), nn.Linear(hidden, 2 * dim)
        nn.init.zeros_(self.second.weight)
        with torch.no_grad():
            self.second.bias.copy_(torch.cat([torch.zeros(dim), torch.full((dim,), _START)]))

    def forward(self, shared: Float[Tensor, "B D"], scene: Float[Tensor, "B D"], count: Int[Tensor, " B"]) -> Posterior:
        """Shift of the mean, and the logarithm of the variance."""
        often = torch.log1p(count.to(shared.dtype))[:, None]
        given = torch.cat([shared, scene, shared * scene, often], dim=1)
        shift, log_variance = self.second(torch.relu(self.first(given))).chunk(2, dim=1)
        return Posterior(shift, log_variance.clamp(*_LOG_VARIANCE))


def seen(count: Int[Tensor, " B"], rate: float) -> Bool[Tensor, " B"]:
    """Whether each cell counts as seen: those with samples, but for a share of them at random."""
    return (count > 0) & (torch.rand(count.shape, device=count.device) >= rate)
