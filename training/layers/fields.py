"""What all models over categorical fields share: their embedding, network, configuration and measure of quality.

Legend: B batch, F fields, D width, R rows of the table (the sum of all cardinalities), K hidden units.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from training.data.fields import FieldBatch, FieldData, FieldSplit, cardinalities, num_user_fields
from training.layers.ranker import binary_loss, quality
from training.schema import Schema
from training.system import Stage

MIN_TRAIN_COUNT = 2
"""Ids with fewer training samples share the field's row of the unknown."""

Dataset = Literal["ml-100k-fields", "hin-amazon"]


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """What all models over fields share, so that only the interaction differs between them."""

    dataset: Dataset = "ml-100k-fields"
    """Data set that it is trained on."""
    dim: int = 16
    """Width of every field's embedding."""
    hidden: tuple[int, int] = (64, 32)
    """Units of the network, where the model has one."""
    dropout: float = 0.2
    """Share of the network's hidden units that a training step leaves out."""
    epochs: int = 15
    """Epochs at most; two without a better AUC on the validation part end training."""
    batch_size: int = 1024
    """Samples of a step."""
    learning_rate: float = 1e-3
    """Rate of AdamW."""
    weight_decay: float = 1.0
    """Decay of AdamW, decoupled from the gradient: each step takes this times the learning rate off every weight."""
    unknown_rate: float = 0.1
    """Share of the ids that each training batch has as unknown, so that their rows learn what to answer."""

    def __post_init__(self) -> None:
        for name in ("dropout", "unknown_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")


class FieldEmbedding(nn.Module):
    """One table for all fields. Ids outside a field's cardinality, and ids that training saw fewer than `min_count`
    times, take the field's row 0, which is the unknown's. Any int64 is a legal id."""

    row_of: Int64[Tensor, " R"]
    """Row of each id of each field: its own, or the field's row 0."""
    offsets: Int64[Tensor, " F"]
    """Row 0 of each field."""
    cardinalities: Int64[Tensor, " F"]
    frequency: Int64[Tensor, " R"]
    """Training samples that use each row; those of rare ids count for the field's row 0."""

    def __init__(self, cardinalities: tuple[int, ...], dim: int, min_count: int = MIN_TRAIN_COUNT) -> None:
        super().__init__()
        sizes = torch.tensor(cardinalities)
        self.min_count = min_count
        self.rows = nn.Embedding(sum(cardinalities), dim)
        nn.init.normal_(self.rows.weight, std=0.01)
        self.sizes = cardinalities
        self.register_buffer("cardinalities", sizes)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes)
        self.register_buffer("row_of", torch.arange(sum(cardinalities)))
        self.register_buffer("frequency", torch.zeros(sum(cardinalities), dtype=torch.int64))

    def prepare(self, train_ids: np.ndarray) -> None:
        """Fill the vocabulary and the frequencies from the training samples [N, F]."""
        ids = torch.from_numpy(train_ids)
        in_range = (ids >= 0) & (ids < self.cardinalities)
        rows = torch.where(in_range, ids, 0) + self.offsets
        counts = torch.bincount(rows.flatten(), minlength=len(self.row_of))
        first = self.offsets.repeat_interleave(self.cardinalities)
        self.row_of.copy_(torch.where(counts >= self.min_count, torch.arange(len(counts)), first))
        self.frequency.zero_().index_add_(0, self.row_of, counts)

    def known(self, ids: Int64[Tensor, "B F"]) -> Int64[Tensor, "B F"]:
        """The ids that have a row, the others as 0."""
        return self._rows_of(ids) - self.offsets

    def forward(self, ids: Int64[Tensor, "B F"], keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, "B F D"]:
        """Vectors of the ids; a field that is not kept has its mean vector."""
        embedded = self.rows(self._rows_of(ids))
        return embedded if keep is None else torch.where(keep[..., None], embedded, self.means())

    def means(self) -> Float[Tensor, "F D"]:
        """Mean vector of each field over the training samples."""
        frequency = self.frequency.to(self.rows.weight.dtype).split(self.sizes)
        weights = self.rows.weight.split(self.sizes)
        return torch.stack([(n / n.sum().clamp(min=1)) @ rows for n, rows in zip(frequency, weights, strict=True)])

    def _rows_of(self, ids: Int64[Tensor, "B F"]) -> Int64[Tensor, "B F"]:
        in_range = (ids >= 0) & (ids < self.cardinalities)
        return self.row_of[torch.where(in_range, ids, 0) + self.offsets]


class FieldModel(nn.Module):
    """Base of all models over fields: a logit from the fields that are kept.

    `logits` without `keep` gives the same bits as with every field kept.
    """

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__()
        self.num_user_fields = num_user_fields(schema)
        self.embedding = FieldEmbedding(cardinalities(schema), config.dim)

    def prepare(self, data: FieldData) -> None:
        """Fill every embedding's vocabulary from the training part."""
        for module in self.modules():
            if isinstance(module, FieldEmbedding):
                module.prepare(data.train.ids)

    def forward(self, batch: FieldBatch) -> Float[Tensor, " B"]:
        return self.logits(batch.ids)

    def logits(self, ids: Int64[Tensor, "B F"], keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        raise NotImplementedError


class LinearTerm(nn.Module):
    """w_0 + sum_i w_i: one weight for each id of each field."""

    def __init__(self, cardinalities: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = FieldEmbedding(cardinalities, 1)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, ids: Int64[Tensor, "B F"], keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        return self.bias + self.weights(ids, keep).sum(dim=(1, 2))


def pair_sum(vectors: Float[Tensor, "B F D"]) -> Float[Tensor, " B"]:
    """sum_{i<j} <v_i, v_j>, in time linear in F (Rendle 2010, lemma 3.1)."""
    return 0.5 * (vectors.sum(dim=1).square() - vectors.square().sum(dim=1)).sum(dim=1)


class FieldNetwork(nn.Module):
    """logit = MLP of all fields' vectors side by side. `finish` is what follows the first layer, which is linear in
    each field's vector and so can be computed once per field and summed over those that are kept."""

    def __init__(self, width: int, config: FieldConfig) -> None:
        super().__init__()
        self.first = nn.Linear(width, config.hidden[0])
        self.dropout = nn.Dropout(config.dropout)
        self.second = nn.Linear(*config.hidden)
        self.last = nn.Linear(config.hidden[1], 1)

    def forward(self, fields: Float[Tensor, "B F D"]) -> Float[Tensor, " B"]:
        return self.finish(self.first(fields.flatten(1)))

    def finish(self, first: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """The rest of the network, given the first layer's output before its activation."""
        hidden = self.dropout(torch.relu(first))
        return self.last(self.dropout(torch.relu(self.second(hidden)))).squeeze(-1)


def with_unknown(ids: Int64[Tensor, "B F"], rate: float) -> Int64[Tensor, "B F"]:
    """The ids, each one unknown (0) with this probability."""
    return torch.where(torch.rand(ids.shape, device=ids.device) < rate, 0, ids)


def field_loss(rate: float) -> Callable[[nn.Module, FieldBatch, float], tuple[Tensor, dict[str, Tensor]]]:
    """Binary cross-entropy with some ids made unknown: without it a user or item that training never saw would meet a
    row that was never trained, as most users of the later parts do (our design)."""

    def loss(module: nn.Module, batch: FieldBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        return binary_loss(module, batch._replace(ids=with_unknown(batch.ids, rate)), done)

    return loss


def field_stage(config: FieldConfig) -> Stage:
    """End-to-end training, the only stage of a plain model over fields."""
    return Stage(
        name="train",
        loss=field_loss(config.unknown_rate),
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )


def evaluate(
    module: nn.Module, predict: Callable[[nn.Module, FieldSplit], np.ndarray], split: FieldSplit
) -> dict[str, float]:
    """AUC, GAUC and log loss of a model's logits."""
    return quality(split, predict(module, split))
