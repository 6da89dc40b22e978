"""SGCTR's module: a generator of rows that mends the vectors of a row before it predicts its click.

Legend: B rows, F fields, D width, S rounds.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator, GeneratorConfig, normal
from training.settings import or_none

GIVEN = "generator."
"""Before the names of the generator's weights among what its run gives."""
_NEVER = 1e9
RAMP = 0.05
"""Difference of cosines over which a choice goes from no to yes. A choice that jumped would fall differently wherever
two machines round a cosine otherwise, and the answer with it."""
_OPEN = -1.0
"""Threshold that no cosine lies below: nothing is redefined until thresholds are measured."""


@dataclass(frozen=True, kw_only=True)
class SgctrConfig(GeneratorConfig):
    """How rows are mended; all values are our design. The rest is the generator's."""

    rounds: int = or_none(1)
    """S: rounds of masking and generating, unrolled in the graph; 0 is the generator's own click logit."""
    masked: float = 0.5
    """Share of the fields beside the anchors that the first round masks, rounded; behind the last it would be 0."""
    steepness: float = 6.0
    """beta: how sharply the weight of the original falls where its cosine is below the field's threshold."""
    quantile: float = 0.2
    """Share of the clean validation rows whose cosine lies below a field's threshold."""
    threshold_rows: int = 1 << 14
    """Validation rows at most that thresholds are measured on."""
    threshold_rate: float = 3e-3
    """Rate at which they follow from batch to batch; it falls to 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 0 or not 0 < self.masked <= 1 or not 0 < self.quantile < 1:
            raise ValueError(
                f"rounds ({self.rounds}) must be at least 0, masked ({self.masked}) in (0, 1], quantile "
                f"({self.quantile}) in (0, 1)"
            )
        if self.transfer != "all" or self.pretraining == "none":
            raise ValueError(
                f"transfer is {self.transfer} and pretraining {self.pretraining}; only a network that was trained to "
                "generate and then for clicks can mend what it reads: leave both as they are, or take fixed masks"
            )


def generator_settings(config: SgctrConfig) -> dict[str, object]:
    """The settings of the generator's run."""
    return {field.name: getattr(config, field.name) for field in fields(GeneratorConfig)}


class Round(NamedTuple):
    """What one round did."""

    masks: Float[Tensor, "B F"]
    """1 where a field is masked, 0 where it is not; between them within the ramp of a tie."""
    given_up: Float[Tensor, "B F"]
    """1 - w: how much of the original gave way to what was generated; 0 where a field is not masked."""


class Mended(NamedTuple):
    """A row after all rounds."""

    vectors: Float[Tensor, "B F D"]
    logit: Float[Tensor, " B"]
    rounds: list[Round]


class Sgctr(nn.Module):
    """The click logit of a row whose least consistent fields were generated anew, S times."""

    def __init__(self, base: FieldGenerator, config: SgctrConfig) -> None:
        super().__init__()
        self.base, self.config = base, config
        self.anchors = (0, base.num_request_fields)
        """user_id and item_id, which are never masked."""
        self.free = [place for place in range(base.num_fields) if place not in self.anchors]
        self.thresholds = nn.Parameter(torch.full((2, base.num_fields), _OPEN))
        """Of each field: theta, for the cosine of the original with what is generated where it is masked; then one for
        the cosine where nothing is."""

    def prepare(self, data: ClickData) -> None:
        """Prepares the generator, and takes its weights where its run has finished."""
        self.base.prepare(data)
        for name, tensor in self.base.state_dict().items():
            if f"{GIVEN}{name}" in data.given:
                tensor.copy_(data.given[f"{GIVEN}{name}"])

    @property
    def counts(self) -> list[int]:
        """How many fields each round masks."""
        most, rounds = self.config.masked * len(self.free), self.config.rounds
        return [max(1, round(most * (rounds - one) / rounds)) for one in range(rounds)]

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        return self.logits(Features(batch.ids, batch.dense, batch.sets))

    def logits(self, x: Features) -> Float[Tensor, " B"]:
        """The generator's own logit, bit for bit, where every field is consistent; only the other rows are mended."""
        first = self.base.embedding(x)
        states = self.base.denoiser.states(first)
        logit = self.base.denoiser.logit(states)
        if not self.config.rounds:
            return logit
        doubt = self.doubt(self.consistency(states, first))
        rows = (doubt > 0).nonzero()[:, 0]
        # One row more, dropped at the end: ORT divides by zero where a batch has none at all.
        mended = self.mend(*(nn.functional.pad(one[rows], (0, 0, 0, 0, 0, 1)) for one in (first, states))).logit[:-1]
        before = logit.index_select(0, rows)
        return logit.scatter(0, rows, before + doubt.index_select(0, rows) * (mended - before))

    def consistency(self, states: Float[Tensor, "B N D"], first: Float[Tensor, "B F D"]) -> Float[Tensor, "B F"]:
        """Cosines of what is said of each field with its original vector."""
        return (self.base.denoiser.directions(states) * normal(first)).sum(-1)

    def doubt(self, consistency: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """0 where no field beside the anchors lies below its threshold; 1 where one does so by the ramp."""
        below = (self.thresholds[1] - consistency)[:, self.free]
        return (below.amax(1) / RAMP).clamp(0, 1)

    def lowest(self, consistency: Float[Tensor, "B F"], count: int) -> Float[Tensor, "B F"]:
        """1 for so many fields beside the anchors, the least consistent ones; fields that tie for the last place share
        it."""
        places = torch.arange(consistency.shape[1], device=consistency.device)
        is_free = (places != self.anchors[0]) & (places != self.anchors[1])
        if count == len(self.free):
            return is_free.to(consistency).expand(consistency.shape)
        order = torch.where(is_free, consistency, _NEVER)
        ascending = torch.topk(order, count + 1, dim=1, largest=False).values
        border = (ascending[:, -2:].sum(1) / 2)[:, None]
        return torch.where(is_free, (0.5 + (border - consistency) / RAMP).clamp(0, 1), 0.0)

    def mend(self, first: Float[Tensor, "B F D"], states: Float[Tensor, "B N D"]) -> Mended:
        """All rounds. What is generated is blended with the original vector, never with that of the round before."""
        denoiser, vectors, rounds = self.base.denoiser, first, []
        length = first.norm(dim=-1, keepdim=True)
        for count in self.counts:
            masks = self.lowest(self.consistency(states, first), count)
            hidden = vectors + masks[..., None] * (denoiser.masks[:-1] - vectors)
            generated = denoiser.directions(denoiser.states(hidden))
            cosine = (generated * normal(first)).sum(-1)
            given_up = 1 - torch.sigmoid(self.config.steepness * (cosine - self.thresholds[0]))
            blended = first + given_up[..., None] * (generated * length - first)
            vectors = vectors + masks[..., None] * (blended - vectors)
            states = denoiser.states(vectors)
            rounds.append(Round(masks, masks * given_up))
        return Mended(vectors, denoiser.logit(states), rounds)

    def alone(self, x: Features) -> Float[Tensor, "2 B F"]:
        """Cosines of each field's original with what is generated where it alone is masked, and where nothing is."""
        first, denoiser = self.base.embedding(x), self.base.denoiser
        found = []
        for place in range(self.base.num_fields):
            masks = (torch.arange(self.base.num_fields, device=first.device) == place).expand(first.shape[:2])
            found.append(self.consistency(denoiser.states(self.base.masked(first, masks)), first)[:, place])
        return torch.stack([torch.stack(found, dim=1), self.consistency(denoiser.states(first), first)])

    @torch.no_grad()
    def start_thresholds(self, cosines: Float[Tensor, "2 B F"]) -> None:
        """Takes the quantile of some rows."""
        self.thresholds.copy_(torch.quantile(cosines, self.config.quantile, dim=1))

    def thresholds_loss(self, x: Features) -> Float[Tensor, ""]:
        """Least where a share `quantile` of the cosines lies below each threshold; the first rows set them off."""
        was = self.training
        with torch.no_grad():
            cosines = self.eval().alone(x)
        self.train(was)
        loss = pinball(cosines, self.thresholds, self.config.quantile)
        if bool((self.thresholds == _OPEN).all()):
            self.start_thresholds(cosines)
        return loss


def pinball(cosines: Float[Tensor, "2 B F"], thresholds: Float[Tensor, "2 F"], quantile: float) -> Float[Tensor, ""]:
    """The loss of quantile regression (Koenker and Bassett, 1978)."""
    above = cosines - thresholds[:, None]
    return torch.maximum(quantile * above, (quantile - 1) * above).mean()
