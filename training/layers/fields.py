"""What all models over fields share: their embedding, network and configuration.

Legend: B batch, F fields, D width, R rows of the table (the sum of all fields' sizes), K hidden units.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.data.columns import Layout, feature_layout
from training.layers.columns import Features, additions
from training.layers.items import known
from training.layers.row_wise import look_up, means
from training.layers.rows import rows
from training.layers.stored import Form, rounded
from training.schema import Schema
from training.warm_start import Axis

MIN_TRAIN_COUNT = 2
"""Ids with fewer training samples share the field's row of the unknown."""


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """What all models over fields share, so that only the interaction differs between them."""

    dim: int = 16
    """Width of every field's embedding."""
    hidden: tuple[int, int] = (64, 32)
    """Units of the network, where the model has one."""
    dropout: float = 0.2
    """Share of the network's hidden units that a training step leaves out."""
    epochs: int = 15
    """Passes at most; two without a better AUC on the validation part end training."""
    batch_size: int = 1024
    """Samples of a step."""
    learning_rate: float = 1e-3
    """Rate of AdamW."""
    weight_decay: float = 1.0
    """Decay of AdamW, decoupled from the gradient: each step takes this times the rate off every weight."""
    unknown_rate: float = 0.1
    """Share of the ids that each training batch has as unknown, so that their rows learn what to answer."""

    def __post_init__(self) -> None:
        for name in ("dropout", "unknown_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")


class FieldEmbedding(nn.Module):
    """One table for all fields. Ids outside a field's size, and ids that training saw fewer than `min_count` times,
    take the field's row 0, which is the unknown's. Any int64 is a legal id. Dense and multi-valued fields add to their
    row."""

    row_of: Int64[Tensor, " R"]
    """Row of each id of each field: its own, or the field's row 0."""
    offsets: Int64[Tensor, " F"]
    """Row 0 of each field."""
    cardinalities: Int64[Tensor, " F"]
    frequency: Int64[Tensor, " R"]
    """Training samples that use each row; those of rare ids count for the field's row 0."""

    def __init__(self, layout: Layout, dim: int, min_count: int = MIN_TRAIN_COUNT) -> None:
        super().__init__()
        self.fields, self.sizes = layout.fields, layout.sizes
        sizes = torch.tensor(self.sizes)
        self.min_count = min_count
        self.rows = nn.Embedding(sum(self.sizes), dim)
        nn.init.normal_(self.rows.weight, std=0.01)
        self.additions = additions(layout, dim, 0.01)
        self.register_buffer("cardinalities", sizes)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes)
        self.register_buffer("row_of", torch.arange(sum(self.sizes)))
        self.register_buffer("frequency", torch.zeros(sum(self.sizes), dtype=torch.int64))

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"rows.weight": Axis(self.fields)}

    def prepare(self, data: ClickData) -> None:
        """Fill the vocabulary, the frequencies and the means from the training part."""
        counts = torch.from_numpy(data.statistics.counts)
        first = self.offsets.repeat_interleave(self.cardinalities)
        self.row_of.copy_(torch.where(counts >= self.min_count, torch.arange(len(counts)), first))
        self.frequency.zero_().index_add_(0, self.row_of, counts)
        if self.additions is not None:
            self.additions.prepare(data.statistics)

    @torch.no_grad()
    def store_as(self, form: Form) -> None:
        """See `training.layers.stored`."""
        self.rows.weight.copy_(rounded(self.rows.weight, form))

    @property
    def is_of_ids(self) -> bool:
        """Whether a field's vector is a row of the table and nothing else."""
        return self.additions is None

    def known(self, ids: Int64[Tensor, "B F"]) -> Int64[Tensor, "B F"]:
        """The ids that have a row, the others as 0."""
        return self._rows_of(ids) - self.offsets

    def forward(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, "B F D"]:
        """Vectors of the fields; a field that is not kept has its mean vector."""
        embedded = look_up(self.rows.weight, self._rows_of(x.ids))
        if self.additions is not None:
            embedded = embedded + self.additions(x)
        return embedded if keep is None else torch.where(keep[..., None], embedded, self.means())

    def means(self) -> Float[Tensor, "F D"]:
        """Mean vector of each field over the training samples."""
        frequency = self.frequency.to(self.rows.weight.dtype).split(self.sizes)
        share = torch.cat([n / n.sum().clamp(min=1) for n in frequency])
        of_rows = means(self.rows.weight, share, self.sizes)
        return of_rows if self.additions is None else of_rows + self.additions.averages()

    def _rows_of(self, ids: Int64[Tensor, "B F"]) -> Int64[Tensor, "B F"]:
        return rows(self.row_of, known(ids, self.cardinalities) + self.offsets)


class FieldModel(nn.Module):
    """Base of all models over fields: a logit from the fields that are kept.

    `logits` without `keep` gives the same bits as with every field kept. In training some ids are made unknown: without
    it a user or item that training never saw would meet a row that was never trained, as most users of the later parts
    do (our design).
    """

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__()
        layout = feature_layout(schema)
        self.num_fields = len(layout.fields)
        self.num_request_fields = len(layout.of("user", "event").fields)
        """How many are the same for all candidates of a request; they come first."""
        self.unknown_rate = config.unknown_rate
        self.embedding = FieldEmbedding(layout, config.dim)

    def prepare(self, data: ClickData) -> None:
        """Fill every embedding from the training part."""
        for module in self.modules():
            if isinstance(module, FieldEmbedding):
                module.prepare(data)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        ids = with_unknown(batch.ids, self.unknown_rate) if self.training else batch.ids
        return self.logits(Features(ids, batch.dense, batch.sets))

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        raise NotImplementedError


class LinearTerm(nn.Module):
    """w_0 + sum_i w_i: one weight for each id of each field."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.weights = FieldEmbedding(layout, 1)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        return self.bias + self.weights(x, keep).sum(dim=(1, 2))


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


def with_unknown(ids: Int64[Tensor, "*B"], rate: float) -> Int64[Tensor, "*B"]:
    """The ids, each one unknown (0) with this probability."""
    return torch.where(torch.rand(ids.shape, device=ids.device) < rate, 0, ids)
