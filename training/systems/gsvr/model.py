"""GSVR's trained module: distributions of users and items by scenario in place of their vectors, around a backbone.

Legend: B batch, L history, N users or items, S scenarios, D width, K components of the prior.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.layers.fields import with_unknown
from training.layers.items import known
from training.layers.mixtures import Mixture, Posterior, mixture_kl
from training.layers.ranker import Embedded, RankerConfig
from training.layers.scenarios import ScenarioModel, masked_mean
from training.schema import Schema
from training.systems.gsvr.cells import Cells, Inference, Prior, seen


@dataclass(frozen=True, kw_only=True)
class Config(RankerConfig):
    """Sizes are ours, the paper's are unknown."""

    backbone: str = "shared_bottom"
    """System whose model of many scenarios it is plugged into: shared_bottom or pepnet."""
    cells: Literal["variational", "free", "off"] = "variational"
    """Vectors of a user and an item in a scenario: distributions with a prior; a free table of each, without one; or
    the same vector in all scenarios. The latter two are the controls."""
    permuted: bool = False
    """Scenario of a cell by lot, one for each item, at the scenarios' rates; a control. The backbone's stays true."""
    own_residuals: bool = True
    """Residual of its own for the mean of each cell, beside what follows from entity and scenario."""
    components: int = 16
    """Gaussians of the global prior."""
    temperature: float = 1.0
    """Divisor of the logits of an entity's shares of them."""
    inference_units: int = 32
    """Hidden units of the network that infers a cell's distribution."""
    beta: float = 0.1
    """Weight of the KL divergence once it is warm. 1 is the exact evidence bound, which holds cells of some tens of
    samples at the prior; 0.1 was chosen on the validation part of kuairand."""
    by_count: bool = True
    """Division of a sample's KL divergence by the samples of its cell, so that a cell counts once; off, a control."""
    prior_weight: float = 1e-3
    """Weight of the term that holds the prior together."""
    warm_up: float = 0.15
    """Share of training without KL divergence and noise; it then grows to its weight over as long again."""
    unseen_rate: float = 0.1
    """Share of the cells of a training batch that count as never seen, so that the prior learns what to answer; of the
    controls, of users and items that are unknown."""


class Side(NamedTuple):
    """What the cells of one side say of a batch."""

    vectors: Float[Tensor, "B D"]
    posterior: Posterior
    prior: Mixture
    samples: Int64[Tensor, " B"]
    """How many training has of the cells."""


class Entities(nn.Module):
    """Cells, inference and prior of one side."""

    def __init__(self, cells: Cells, config: Config) -> None:
        super().__init__()
        self.cells, self.kind = cells, config.cells
        if config.cells == "variational":
            self.inference = Inference(config.dim, config.inference_units)
            self.prior = Prior(config.dim, config.components, config.temperature)

    def posterior(
        self, entity: Int[Tensor, " B"], scenario: Int[Tensor, " B"], base: Float[Tensor, "B D"]
    ) -> Posterior:
        """Eq. (1)."""
        shared = self.cells.shared(entity, base)
        found = self.inference(shared, self.cells.scenes(scenario), self.cells.count(entity, scenario))
        return found._replace(mean=shared + found.mean + self.cells.residual(entity, scenario))

    def means(
        self, entity: Int[Tensor, " B"], scenario: Int[Tensor, " B"], base: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        """Means of cells, whether training met them or not; of the controls their one vector."""
        if self.kind == "variational":
            return self.posterior(entity, scenario, base).mean
        return self.cells.shared(entity, base) + self.cells.residual(entity, scenario)

    def is_served(self, entity: Int[Tensor, " B"], scenario: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """Whether a cell's own mean answers; else the prior's does."""
        count = self.cells.count(entity, scenario)
        return count > 0 if self.kind == "variational" else count >= 0


class GSVR(nn.Module):
    """A backbone whose target is z_is and whose profile has z_us added. `forward` takes the means, which are served."""

    lot: Int64[Tensor, " N"]
    """Scenario of each item by lot."""

    def __init__(self, config: Config, host: ScenarioModel, schema: Schema) -> None:
        super().__init__()
        self.config, self.host = config, host
        own = config.cells == "free" or (config.cells == "variational" and config.own_residuals)
        user, item = schema.key("user"), schema.key("item")
        self.users = Entities(Cells(user, host.axis, config.dim, own=own), config)
        self.items = Entities(Cells(item, host.axis, config.dim, own=own), config)
        self.register_buffer("lot", torch.zeros(self.items.cells.num_entities, dtype=torch.int64))

    def prepare(self, data: ClickData) -> None:
        """Fill the backbone, and count the cells of the training part."""
        self.host.prepare(data)
        places = data.train.places
        user, item = data.log.user[places], data.log.item[places]
        scenario = data.source.scenario.of(places, item)
        drawn = np.random.default_rng(0).choice(scenario, self.items.cells.num_entities)
        self.lot.copy_(torch.from_numpy(drawn))
        if self.config.permuted:
            scenario = drawn[item]
        self.users.cells.prepare(user, scenario)
        self.items.cells.prepare(item, scenario)

    def scenario(self, batch: ClickBatch) -> Int[Tensor, " B"]:
        """The scenario of each sample's cells."""
        if not self.config.permuted:
            return batch.scenario
        return self.lot.index_select(0, known(batch.item, self.items.cells.num_entities))

    def described(self) -> Float[Tensor, "N D"]:
        """What the fields of the items say of them."""
        items = self.host.tables.items
        return items.described(torch.zeros_like(items.rows.table()))

    def interests(self, embedded: Embedded) -> Float[Tensor, "B D"]:
        """What the behaviours in all scenarios, and their profiles, say of the users."""
        return masked_mean(embedded.history, embedded.mask) + embedded.profile

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        embedded, scenario = self.host.tables.look_up(batch), self.scenario(batch)
        user = self.users.means(batch.user, scenario, torch.zeros_like(embedded.profile))
        item = self.items.means(batch.item, scenario, embedded.target)
        if self.config.cells == "variational":
            side = nn.functional.embedding(known(batch.item, self.items.cells.num_entities), self.described())
            for_user = self.users.prior(self.interests(embedded)).moments().mean
            for_item = self.items.prior(side).moments().mean
            user = torch.where(self.users.is_served(batch.user, scenario)[:, None], user, for_user)
            item = torch.where(self.items.is_served(batch.item, scenario)[:, None], item, for_item)
        return self.score(embedded, batch.scenario, user, item)

    def control(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        """A control in training, where a share of users and items is unknown, as cells are of the distributions."""
        embedded, scenario = self.host.tables.look_up(batch), self.scenario(batch)
        user, item = (with_unknown(one, self.config.unseen_rate) for one in (batch.user, batch.item))
        of_user = self.users.means(user, scenario, torch.zeros_like(embedded.profile))
        return self.score(embedded, batch.scenario, of_user, self.items.means(item, scenario, embedded.target))

    def score(
        self,
        embedded: Embedded,
        scenario: Int[Tensor, " B"],
        user: Float[Tensor, "B D"],
        item: Float[Tensor, "B D"],
    ) -> Float[Tensor, " B"]:
        """The backbone's logits with these vectors of users and items in the scenario."""
        return self.host.logits(embedded._replace(target=item, profile=embedded.profile + user), scenario)

    def sides(self, batch: ClickBatch, embedded: Embedded, *, noise: bool) -> tuple[Side, Side]:
        """Both sides in training: samples of the distributions, or their means without noise."""
        scenario, number = self.scenario(batch), known(batch.item, self.items.cells.num_entities)
        described = nn.functional.embedding(number, self.described())
        of_user, of_item = torch.zeros_like(embedded.profile), embedded.target
        return (
            self._side(self.users, (batch.user, scenario, of_user), self.interests(embedded), noise=noise),
            self._side(self.items, (batch.item, scenario, of_item), described, noise=noise),
        )

    def _side(
        self, entities: Entities, cell: tuple[Tensor, Tensor, Tensor], side: Float[Tensor, "B D"], *, noise: bool
    ) -> Side:
        posterior, prior = entities.posterior(*cell), entities.prior(side)
        deviation = (posterior.log_variance / 2).exp() * noise
        sampled = posterior.mean + deviation * torch.randn_like(posterior.mean)
        count = entities.cells.count(*cell[:2])
        there = seen(count, self.config.unseen_rate)[:, None]
        return Side(torch.where(there, sampled, prior.moments().mean), posterior, prior, count)


def gsvr_loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy + beta (KL_u / n_us + KL_i / n_is) + what holds the priors together; the first alone of a
    control."""
    assert isinstance(module, GSVR)
    config, entropy = module.config, nn.functional.binary_cross_entropy_with_logits
    if config.cells != "variational":
        loss = entropy(module.control(batch), batch.label)
        return loss, {"loss": loss.detach()}
    warm = 1.0 if config.warm_up == 0 else min(max(done / config.warm_up - 1, 0.0), 1.0)
    embedded = module.host.tables.look_up(batch)
    user, item = module.sides(batch, embedded, noise=warm > 0)
    loss = entropy(module.score(embedded, batch.scenario, user.vectors, item.vectors), batch.label)
    divergence = torch.zeros_like(loss)
    for side in (user, item):
        each = mixture_kl(side.posterior, side.prior)
        divergence = divergence + (each / side.samples.clamp(min=1) if config.by_count else each).mean()
    together = module.users.prior.spread(user.prior) + module.items.prior.spread(item.prior)
    total = loss + warm * config.beta * divergence + config.prior_weight * together
    return total, {"loss": loss.detach(), "divergence": divergence.detach()}
