"""GSVR's vectors of (user, scenario) and (item, scenario): a distribution for each cell, and the prior of all of them.

Legend: B batch, N entities (users or items) with the unknown one, S scenarios, D width, K components of the prior.
Equations are numbered here:

    q(z | e, s) = N(mu, diag sigma^2)     mu = x_e + f(x_e, x_s, x_e * x_s, log(1 + n_es)) + r_es             (1)
    p(z | e)    = sum_k pi_e[k] N(m_k, diag s_k^2)     pi_e = softmax(G h_e / tau), the same in all scenarios  (2)
    KL(q || p) as `training.layers.mixtures.mixture_kl` bounds it                                              (3)
    z = mu where n_es > 0, else sum_k pi_e[k] m_k                                                              (4)
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.layers.items import IdEmbedding, known
from training.layers.mixtures import Mixture, Posterior, entropy, far_from_normal
from training.layers.rows import rows
from training.layers.scenarios import scene_vectors
from training.schema import Field, size_of
from training.warm_start import Axis

_LOG_VARIANCE = (-8.0, 4.0)
_START = -3.0
"""Logarithm of the first variance, of cells as of the prior: samples narrow a cell from there. From a smaller one the
divergence widens cells first, most of all by way of log(1 + n), the largest input of the network; training is over
before that is undone, and cells of many samples are the widest."""


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
        """What holds the prior together, and by a hundredth its components alive."""
        return far_from_normal(mixture) - 0.01 * entropy(mixture.log_share.exp().mean(dim=0))


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
