"""DMAE's trained module: configuration, parameters, what training reads beside the logit.

Legend: B batch, L history, R requests, M modalities, D width of item vectors, d width of the units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.layers.activation import ActivationConfig, LocalActivation
from training.layers.ages import AgeEmbedding
from training.layers.item_content import MODALITIES, ItemContent, is_given
from training.layers.items import known
from training.layers.rows import rows
from training.schema import Schema
from training.systems.dmae.units import (
    FINENESS,
    FUSIONS,
    LEVELS,
    Compared,
    Encoding,
    Vectors,
    distribution_loss,
    encode,
    level_of,
    masked_softmax,
)

_ALL_ITEMS = 4096
"""Items up to which a target is compared with all of them, which is cheaper than to read the vectors of its events."""

Modality = Literal["text", "graph"]


@dataclass(frozen=True, kw_only=True)
class Config(ActivationConfig):
    """Sizes are ours, the paper's are unknown."""

    max_length: int = 50
    """Most recent events of a history that are kept: attention within it costs its square for each candidate."""
    modalities: tuple[Modality, ...] = ("text", "graph")
    """Vectors by which the target is compared with each event."""
    fusion: Literal["attention", "gate", "none"] = "attention"
    """Form of the fusion unit: `attention`, every event of one modality asks all events of the other; `gate`, for many
    candidates, its own event and the mean of all; `none`, no fusion, the control."""
    decoder_weight: float = 0.1
    """Weight of the decoder's loss; 0 leaves it out."""
    width: int = 16
    """Width of the units' vectors."""
    buckets: int = 32
    """Buckets of the similarity."""
    temperature: float = 0.1
    """Temperature of the distribution of similarities that is decoded."""

    def __post_init__(self) -> None:
        if not self.modalities or len({*self.modalities}) != len(self.modalities):
            raise ValueError(f"modalities is {self.modalities}; name text, graph or both, each once")
        if self.buckets < 1 or self.width < 1:
            raise ValueError(f"buckets ({self.buckets}) and width ({self.width}) must be at least 1")
        if self.decoder_weight < 0 or self.temperature <= 0:
            raise ValueError(
                f"decoder_weight is {self.decoder_weight} and temperature {self.temperature}; the one must not be "
                "negative, the other must be above 0"
            )


class Past(NamedTuple):
    """A batch's histories, as the units read them."""

    values: Int64[Tensor, "B L"]
    ages: Int64[Tensor, "B L"]
    mask: Float[Tensor, "B L"]
    """1 for an event that counts."""


class Interest(NamedTuple):
    """What the units make of one modality."""

    mask: Float[Tensor, "B L"]
    """1 where the event counts, and it and the target have a vector."""
    encoded: Float[Tensor, "B L d"]
    """Eq. (4), zeros behind the mask."""
    fused: Float[Tensor, "B L d"]
    """Eq. (5), zeros behind the mask."""
    weights: Float[Tensor, "B L"]
    """Of eq. (6)."""


class Prediction(NamedTuple):
    """The logit, and what the decoder's loss reads, of each modality."""

    logits: Float[Tensor, " B"]
    interests: list[Interest]
    similarity: list[Float[Tensor, "B L"]]


class DMAE(LocalActivation):
    """Target attention over the ids, as the base has it, and beside its interest one of each modality."""

    given: Float[Tensor, "N M"]
    """1 where an item has a vector."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.config = config
        number, width = len(config.modalities), config.width
        self.content = ItemContent(self.tables.num_items)
        self.register_buffer("given", torch.zeros(self.tables.num_items, number))
        self.ages = AgeEmbedding(width)
        self.encodings = nn.ModuleList(Encoding(config.buckets, config.dim, width) for _ in range(number))
        self.fusions = nn.ModuleList(FUSIONS[config.fusion](width) for _ in range(number))
        self.pools = nn.ModuleList(nn.Linear(width, 1, bias=False) for _ in range(number))
        self.of_modalities = nn.Linear(number * width, config.hidden[0], bias=False)
        self.decoders = nn.ModuleList(_decoder(number * width, width) for _ in range(number))

    def prepare(self, data: ClickData) -> None:
        """Fill all tables from the training part, and the items' vectors, on the grid that keeps products exact. Raises
        ValueError where no item has any: what is left would be target attention alone."""
        super().prepare(data)
        self.content.prepare(data.interactions.content)
        for name in MODALITIES:
            table = self.content.get_buffer(name)
            table.copy_((table * FINENESS).round() / FINENESS)
        self.given.copy_(torch.stack([is_given(self.content.get_buffer(name)) for name in self.config.modalities], 1))
        if not self.given.any():
            raise ValueError(
                f"no item of {data.interactions.name} has a vector of {' or '.join(self.config.modalities)}; "
                "take din, or another of modalities"
            )

    def compare(
        self, item: Int64[Tensor, " B"], history: Int64[Tensor, "B L"], all_items: int = _ALL_ITEMS
    ) -> list[Compared]:
        """Each item beside the events of its own history; by way of all items where there are at most so many."""
        item, history = (known(ids, self.tables.num_items) for ids in (item, history))
        cosines = []
        for name in self.config.modalities:
            table = self.content.get_buffer(name)
            target = nn.functional.embedding(item, table)
            if self.tables.num_items <= all_items:
                cosines.append((target @ table.T).gather(1, history))
            else:
                cosines.append((nn.functional.embedding(history, table) @ target[:, :, None]).squeeze(2))
        return self._compared(cosines, item, history)

    def compare_requests(
        self, item: Int64[Tensor, " B"], history: Int64[Tensor, "R L"], request: Int64[Tensor, " B"]
    ) -> list[Compared]:
        """The same, where several items belong to one request: the vectors of a history are read once."""
        item, events = (known(ids, self.tables.num_items) for ids in (item, history.flatten()))
        length = history.shape[1]
        places = request[:, None] * length + torch.arange(length, device=item.device)
        cosines = []
        for name in self.config.modalities:
            target, past = (nn.functional.embedding(ids, self.content.get_buffer(name)) for ids in (item, events))
            cosines.append((target @ past.T).gather(1, places))
        return self._compared(cosines, item, rows(events, places))

    def _compared(
        self, cosines: Sequence[Float[Tensor, "B L"]], item: Int64[Tensor, " B"], history: Int64[Tensor, "B L"]
    ) -> list[Compared]:
        """Of known items."""
        target, past = (nn.functional.embedding(ids, self.given) for ids in (item, history))
        valid = (target[:, None, :] * past).unbind(2)
        return [Compared(level_of(cosine), one) for cosine, one in zip(cosines, valid, strict=True)]

    def mask(
        self, item: Int64[Tensor, " B"], history: Int64[Tensor, "B L"], length: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B L"]:
        """1 for an event that counts. One of the target itself does not: it is as like it as can be, and says no more
        than that it was met before."""
        inside = torch.arange(history.shape[1], device=history.device) < length[:, None]
        own = (history == item[:, None]) & (history > 0)
        return (inside & ~own).to(self.of_modalities.weight.dtype)

    def vectors(self) -> list[Vectors]:
        """The summands of eq. (4) in each modality."""
        ages, values = self.ages.rows.weight, self.tables.behaviours.rating.table()
        return [encoding(ages, values) for encoding in self.encodings]

    def interests(self, past: Past, compared: Sequence[Compared], vectors: Sequence[Vectors]) -> list[Interest]:
        """Eqs. (4) to (6) of all modalities. A single one asks itself."""
        age, value = self.ages.buckets(past.ages), known(past.values, self.tables.behaviours.num_values)
        masks = [past.mask * one.valid for one in compared]
        encoded = [
            encode(own, one.level, age, value) * mask[:, :, None]
            for own, one, mask in zip(vectors, compared, masks, strict=True)
        ]
        found = []
        for own, (fusion, pool) in enumerate(zip(self.fusions, self.pools, strict=True)):
            other = len(encoded) - 1 - own
            fused = fusion(encoded[own], encoded[other], masks[other]) * masks[own][:, :, None]
            weights = masked_softmax(pool(fused).squeeze(2), masks[own])
            found.append(Interest(masks[own], encoded[own], fused, weights))
        return found

    def predict(self, batch: ClickBatch, compared: Sequence[Compared], vectors: Sequence[Vectors]) -> Prediction:
        """The logit of the base's head, whose first layer also reads u of every modality."""
        history, _, target, profile = self.tables.look_up(batch)
        mask = self.mask(batch.item, batch.history_items, batch.history_length)
        interests = self.interests(Past(batch.history_values, batch.history_ages, mask), compared, vectors)
        pooled = [(one.weights[:, None, :] @ one.fused)[:, 0] for one in interests]
        first = self.tower.of_target(target) + self.tower.of_profile(profile) + self.of_modalities(torch.cat(pooled, 1))
        logits = self.tower.finish(self.interest(history, mask, target), target, first)
        return Prediction(logits, interests, [one.level.to(mask.dtype) / LEVELS for one in compared])

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        return self.predicted(batch).logits

    def predicted(self, batch: ClickBatch) -> Prediction:
        """Of samples as they come in training."""
        return self.predict(batch, self.compare(batch.item, batch.history_items), self.vectors())

    def decode(self, interests: Sequence[Interest]) -> list[Float[Tensor, "B L"]]:
        """IDDU, training only: o of eq. (7) in each modality."""
        both = torch.cat([one.fused for one in interests], dim=2)
        return [decoder(both).squeeze(2) for decoder in self.decoders]


def _decoder(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, 1))


def decoder_losses(module: DMAE, prediction: Prediction) -> list[Float[Tensor, " B"]]:
    """KL of eq. (7) in each modality."""
    parts = zip(module.decode(prediction.interests), prediction.similarity, prediction.interests, strict=True)
    return [distribution_loss(decoded, true, one.mask, module.config.temperature) for decoded, true, one in parts]


def dmae_loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy + the decoder's weight * L_dec, mean over the batch."""
    assert isinstance(module, DMAE)
    prediction = module.predicted(batch)
    entropy = nn.functional.binary_cross_entropy_with_logits(prediction.logits, batch.label)
    decoding = torch.stack(decoder_losses(module, prediction)).sum(0).mean()
    logged = {"loss": entropy.detach(), "decoding": decoding.detach()}
    return entropy + module.config.decoder_weight * decoding, logged
