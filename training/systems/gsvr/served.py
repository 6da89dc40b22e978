"""GSVR as it is served: the means of all cells in tables, the prior where training met none, and how sure it is.

Legend: C candidates packed over the requests, N users or items, S scenarios, D width, R draws.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch
from training.layers.click_release import Scorer
from training.layers.items import known
from training.layers.mixtures import Posterior
from training.layers.ranker import Embedded
from training.layers.scenarios import masked_mean
from training.servable import Packed
from training.systems.gsvr.model import GSVR, Entities

DRAWS = 8
"""Fixed draws from each distribution, in pairs of opposite sign."""


class Table(nn.Module):
    """Means of all cells of one side, and which of them answer."""

    means: Float[Tensor, "NS D"]
    served: Bool[Tensor, " NS"]

    def __init__(self, entities: Entities, base: Float[Tensor, "N D"]) -> None:
        super().__init__()
        self.cells = entities.cells
        size, scenarios = self.cells.num_entities, self.cells.num_scenarios
        entity = torch.arange(size).repeat_interleave(scenarios)
        scenario = torch.arange(scenarios).repeat(size)
        self.register_buffer("means", entities.means(entity, scenario, base[entity]))
        self.register_buffer("served", entities.is_served(entity, scenario))

    def forward(
        self, entity: Int[Tensor, " C"], scenario: Int[Tensor, " C"], otherwise: Float[Tensor, "C D"]
    ) -> Float[Tensor, "C D"]:
        """Means of the cells, and what else to take where training met none of a cell."""
        cell = self.cells.cell(entity, scenario)
        return torch.where(self.served.index_select(0, cell)[:, None], self.means.index_select(0, cell), otherwise)


class ServedGSVR(nn.Module):
    """The same logits as the trained module's, with nothing inferred at request time but a new cell's prior."""

    targets: Float[Tensor, "N D"]
    item_priors: Float[Tensor, "N D"]

    def __init__(self, model: GSVR) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            targets = model.host.tables.items()
            self.register_buffer("targets", targets)
            width = targets.shape[1]
            is_off = model.config.cells != "variational"
            priors = torch.zeros_like(targets) if is_off else model.items.prior(model.described()).moments().mean
            self.register_buffer("item_priors", priors)
            self.users = Table(model.users, targets.new_zeros(model.users.cells.num_entities, width))
            self.items = Table(model.items, targets)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " C"]:
        model = self.model
        embedded, scenario = model.host.tables.look_up(batch), model.scenario(batch)
        number = known(batch.item, len(self.item_priors))
        new_user = torch.zeros_like(embedded.profile)
        if model.config.cells == "variational":
            new_user = model.users.prior(model.interests(embedded)).moments().mean
        user = self.users(batch.user, scenario, new_user)
        item = self.items(batch.item, scenario, self.item_priors.index_select(0, number))
        return model.score(embedded, batch.scenario, user, item)


class Distributions(nn.Module):
    """Mean and logarithm of the variance of all cells of one side, where training met none those of its prior."""

    means: Float[Tensor, "NS D"]
    log_variances: Float[Tensor, "NS D"]
    served: Bool[Tensor, " NS"]

    def __init__(self, entities: Entities, base: Float[Tensor, "N D"], side: Float[Tensor, "N D"]) -> None:
        super().__init__()
        self.cells = entities.cells
        scenarios = self.cells.num_scenarios
        entity = torch.arange(self.cells.num_entities).repeat_interleave(scenarios)
        scenario = torch.arange(scenarios).repeat(self.cells.num_entities)
        served, prior = entities.is_served(entity, scenario), entities.prior(side[entity]).moments()
        found = entities.posterior(entity, scenario, base[entity])
        means, log_variances = (torch.where(served[:, None], *both) for both in zip(found, prior, strict=True))
        self.register_buffer("means", means)
        self.register_buffer("log_variances", log_variances)
        self.register_buffer("served", served)

    def at(self, cell: Int[Tensor, " C"]) -> Posterior:
        """Of these cells."""
        return Posterior(self.means.index_select(0, cell), self.log_variances.index_select(0, cell))


class Spread(nn.Module):
    """Packed candidates and their users' rows -> mean and deviation of the probability in each scenario, over fixed
    draws from the distributions of user and item; those of a cell that training never met are the prior's."""

    noise: Float[Tensor, "R 2 D"]

    def __init__(self, scorer: Scorer, model: GSVR) -> None:
        super().__init__()
        self.scorer, self.host, self.prior = scorer, model.host, model.users.prior
        half = torch.randn(DRAWS // 2, 2, model.config.dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", torch.cat([half, -half]))
        with torch.no_grad():
            nothing = torch.zeros(model.users.cells.num_entities, model.config.dim)
            self.users = Distributions(model.users, nothing, nothing)
            self.items = Distributions(model.items, model.host.tables.items(), model.described())

    def forward(self, candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"], *rows: Tensor) -> Packed:
        """Mean [C] and deviation [C] of each scenario, the unknown one first."""
        batch = self.scorer.samples(candidates, candidate_offsets, *rows)
        embedded, scenarios = self.host.tables.look_up(batch), self.host.num_scenarios
        scenario = torch.arange(scenarios).repeat(batch.item.shape[0])  # (C S)
        cells = (
            one.cells.cell(ids.repeat_interleave(scenarios), scenario)
            for one, ids in ((self.users, batch.user), (self.items, batch.item))
        )
        of_user, of_item = cells
        own, new = self.users.at(of_user), self.prior(masked_mean(*embedded[:2]) + embedded.profile).moments()
        met = self.users.served.index_select(0, of_user)[:, None]
        user = Posterior(
            *(torch.where(met, one, other.repeat_interleave(scenarios, 0)) for one, other in zip(own, new, strict=True))
        )
        drawn = self._drawn(embedded, scenario, user, self.items.at(of_item))  # (C, S, R)
        means, deviations = drawn.mean(2)[:-1], drawn.std(2, correction=0)[:-1]
        return tuple(one[:, number] for number in range(scenarios) for one in (means, deviations))

    def _drawn(
        self, embedded: Embedded, scenario: Int[Tensor, " CS"], user: Posterior, item: Posterior
    ) -> Float[Tensor, "C S R"]:
        scenarios = self.host.num_scenarios
        wide = Embedded(*(part.repeat_interleave(scenarios * DRAWS, 0) for part in embedded))
        vectors = [
            (one.mean[:, None] + (one.log_variance[:, None] / 2).exp() * self.noise[:, side]).flatten(0, 1)
            for side, one in enumerate((user, item))
        ]
        given = wide._replace(profile=wide.profile + vectors[0], target=vectors[1])
        logits = self.host.logits(given, scenario.repeat_interleave(DRAWS))
        return torch.sigmoid(logits).reshape(-1, scenarios, DRAWS)
