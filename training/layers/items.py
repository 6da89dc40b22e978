"""Vectors of ids, and what models know by them: of items, of an item with a value in a history, of a user's fields.

Legend: R rows of all fields of a table, N items with the unknown one, M values with the unknown one, D width, P fields
of a profile, B batch.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.columns import Columns, Layout
from training.data.statistics import Samples, measured
from training.layers.columns import Features, SetMean, additions
from training.layers.row_wise import is_spread, look_up, means
from training.layers.rows import rows
from training.layers.stored import Form, rounded
from training.schema import Field, size_of
from training.warm_start import Axis

NUM_POPULARITY_BUCKETS = 8
MIN_TRAIN_COUNT = 5
"""Items with fewer training events share the out-of-vocabulary row: their own row would be noise."""


def known(ids: Int[Tensor, "*B"], cardinality: int | Tensor) -> Int[Tensor, "*B"]:
    """Ids with everything outside [0, cardinality) mapped to 0, the out-of-vocabulary id."""
    return torch.where((ids >= 0) & (ids < cardinality), ids, 0)


def popularity_bucket(counts: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Training events of each item -> bucket 0..7: how many times 3 they fill, with 0 for an unseen item."""
    buckets = torch.ceil(torch.log(counts.double() + 1) / torch.log(torch.tensor(3.0, dtype=torch.float64)))
    return buckets.long().clamp(max=NUM_POPULARITY_BUCKETS - 1)


class IdEmbedding(nn.Embedding):
    """Vectors of the ids of one field, or of several whose rows follow one another.

    An id that training met fewer than `min_count` times, and one outside its field, has the vector of its field's id 0,
    the unknown. Where training met none of these either, that is the mean of the vectors of the training samples. So
    nobody reads a row that no step has moved. Our design.
    """

    row_of: Int64[Tensor, " R"]
    """Row of each id: its own, that of its field's unknown, or from R on the mean of its field's."""
    share: Float[Tensor, " R"]
    """Of the training samples, by row of their field."""
    cardinalities: Int64[Tensor, " P"]
    offsets: Int64[Tensor, " P"]
    stored: Float[Tensor, "R+P D"] | None
    """The rows and means, once they are rounded."""

    def __init__(self, axis: Axis, dim: int, min_count: int = 1) -> None:
        super().__init__(sum(map(axis.size, axis.fields)), dim)
        self.axis, self.sizes, self.min_count = axis, tuple(map(axis.size, axis.fields)), min_count
        sizes = torch.tensor(self.sizes, dtype=torch.int64)
        self.register_buffer("cardinalities", sizes)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes)
        self.register_buffer("row_of", torch.arange(sum(self.sizes)))
        self.register_buffer("share", torch.zeros(sum(self.sizes)))
        self.register_buffer("stored", None, persistent=False)

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"weight": self.axis}

    def prepare(self, counts: np.ndarray) -> None:
        """Takes how many training samples have each id, int64 [R]."""
        met = torch.from_numpy(counts)
        first = self.offsets.repeat_interleave(self.cardinalities)
        row_of = torch.where(met >= self.min_count, torch.arange(len(met)), first)
        trained = torch.zeros_like(met).index_add_(0, row_of, met)
        mean = len(met) + torch.arange(len(self.sizes)).repeat_interleave(self.cardinalities)
        self.row_of.copy_(torch.where((row_of == first) & (trained[first] == 0), mean, row_of))
        self.share.copy_(torch.cat([part / part.sum().clamp(min=1) for part in trained.split(self.sizes)]))

    def forward(self, input: Int[Tensor, "*B P"]) -> Float[Tensor, "*B P D"]:
        """Vectors of ids, one of each field; of one field ids may have any shape."""
        return self.at(known(input, self.cardinalities) + self.offsets)

    def at(self, places: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Vectors of ids by their places 0 .. R - 1 in the table."""
        if is_spread(self.weight):
            return self._spread_at(rows(self.row_of, places))
        return nn.functional.embedding(rows(self.row_of, places), self._rows())

    def table(self) -> Float[Tensor, "R D"]:
        """Vectors of all ids."""
        return nn.functional.embedding(self.row_of, self._rows())

    def _spread_at(self, row: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """By their rows, and from R on by the mean of a field."""
        last = self.num_embeddings - 1
        found = look_up(self.weight, row.clamp(max=last))
        mean = means(self.weight, self.share, self.sizes)
        return torch.where((row > last)[..., None], nn.functional.embedding((row - last - 1).clamp(min=0), mean), found)

    @torch.no_grad()
    def store_as(self, form: Form) -> None:
        """See `training.layers.stored`."""
        self.weight.copy_(rounded(self.weight, form))
        self.stored = rounded(self._rows(), form)

    def _rows(self) -> Float[Tensor, "R+P D"]:
        """The rows, then the mean of each field."""
        if self.stored is not None:
            return self.stored
        parts = zip(self.share.to(self.weight.dtype).split(self.sizes), self.weight.split(self.sizes), strict=True)
        return torch.cat([self.weight, *((share @ own)[None] for share, own in parts)])


class ItemTable(nn.Module):
    """Item vector = row of a known item + its profile fields + its popularity bucket; by dense id, 0 = unknown."""

    bucket_of: Int64[Tensor, " N"]
    ids: Int64[Tensor, "N P"]
    dense: Float[Tensor, "N Pd"]
    sets: Int64[Tensor, "N Ps"]
    stored: Float[Tensor, "N D"] | None
    """The vectors of all items, once they are rounded."""

    def __init__(self, key: Field, layout: Layout, dim: int) -> None:
        super().__init__()
        num_items = size_of(key)
        self.rows = IdEmbedding(Axis((key,)), dim, MIN_TRAIN_COUNT)
        self.popularity = nn.Embedding(NUM_POPULARITY_BUCKETS, dim)
        self.layout = layout
        self.set_means = nn.ModuleList(SetMean(layout.fields[one.place], dim) for one in layout.sets)
        nn.init.normal_(self.rows.weight, std=0.1)
        nn.init.normal_(self.popularity.weight, std=0.1)
        # Multi-valued fields are the means above.
        self.places = tuple(place for place, field in enumerate(layout.fields) if field.kind != "multi")
        others = Layout(tuple(layout.fields[place] for place in self.places))
        self.profile = ProfileEmbedding(others, dim) if self.places else None
        self.register_buffer("bucket_of", torch.zeros(num_items, dtype=torch.int64))
        self.register_buffer("ids", torch.zeros(num_items, len(layout.fields), dtype=torch.int64))
        self.register_buffer("dense", torch.zeros(num_items, len(layout.dense)))
        self.register_buffer("sets", torch.zeros(num_items, layout.set_width, dtype=torch.int64))
        self.register_buffer("stored", None, persistent=False)

    def prepare(self, train_counts: np.ndarray, values: Columns, train_items: np.ndarray) -> None:
        """Fill the buffers: which items have a row by their training events int64 [N], their fields; `train_items`
        int64 are the items of the training samples, over which means are taken."""
        counts = torch.from_numpy(train_counts)
        self.rows.prepare(train_counts)
        self.bucket_of.copy_(popularity_bucket(counts))
        for name, array in values._asdict().items():
            self.get_buffer(name).copy_(torch.from_numpy(array))
        met = measured(self.layout, lambda numbers: values.rows(train_items[numbers]), len(train_items))
        for mean, share in zip(self.set_means, met.set_shares, strict=True):
            assert isinstance(mean, SetMean)
            mean.prepare(share)
        own = Columns(values.ids[:, self.places], values.dense, values.sets[:, :0])
        if self.profile is not None:
            self.profile.prepare(lambda numbers: own.rows(train_items[numbers]), len(train_items))

    def forward(self) -> Float[Tensor, "N D"]:
        """Vectors of all items."""
        return self.worked_out() if self.stored is None else self.stored

    @torch.no_grad()
    def store_as(self, form: Form) -> None:
        """See `training.layers.stored`."""
        self.stored = rounded(self.worked_out(), form)

    def worked_out(self) -> Float[Tensor, "N D"]:
        """The vectors from what they consist of."""
        return self.described(self.rows.table() + self.popularity(self.bucket_of))

    def described(self, vectors: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The vectors, and what the profile fields of the items add."""
        for mean, one in zip(self.set_means, self.layout.sets, strict=True):
            vectors = vectors + mean(self.sets[:, one.start : one.stop])
        if self.profile is not None:
            vectors = vectors + self.profile(Features(self.ids[:, self.places], self.dense, self.sets[:, :0]))
        return vectors


class BehaviourTable(nn.Module):
    """Vector of (item, value): SiLU(W (item + value)); row item * M + value."""

    def __init__(self, value: Field, dim: int) -> None:
        super().__init__()
        self.num_values = size_of(value)
        self.rating = IdEmbedding(Axis((value,)), dim)
        self.mix = nn.Linear(dim, dim)
        nn.init.normal_(self.rating.weight, std=0.1)

    def prepare(self, values: np.ndarray) -> None:
        """Takes the values int64 [n] of the training events."""
        inside = np.where((values >= 0) & (values < self.num_values), values, 0)
        self.rating.prepare(np.bincount(inside, minlength=self.num_values))

    def forward(self, items: Float[Tensor, "N D"]) -> Float[Tensor, "NM D"]:
        """All pairs."""
        pairs = items[:, None, :] + self.rating.table()[None, :, :]  # (N, M, D)
        return nn.functional.silu(self.mix(pairs)).flatten(0, 1)

    def index(self, items: Int[Tensor, "*B"], values: Int[Tensor, "*B"], num_items: int) -> Int[Tensor, "*B"]:
        """Row of each event; unknown items and values take id 0."""
        return known(items, num_items) * self.num_values + known(values, self.num_values)

    def of(self, items: Float[Tensor, "*B D"], values: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """The same of some pairs: items by their vectors."""
        return nn.functional.silu(self.mix(items + self.rating(values)))


class ProfileEmbedding(nn.Module):
    """Sum of one vector for each field; 0 is unknown in each."""

    def __init__(self, layout: Layout, dim: int) -> None:
        super().__init__()
        self.layout = layout
        self.rows = IdEmbedding(Axis(layout.fields), dim)
        nn.init.normal_(self.rows.weight, std=0.1)
        self.additions = additions(layout, dim, 0.1)

    def prepare(self, samples: Samples, num_samples: int) -> None:
        """Takes what training samples, given by their numbers, say of the fields."""
        if not self.layout.fields:
            return
        met = measured(self.layout, samples, num_samples)
        self.rows.prepare(met.counts)
        if self.additions is not None:
            self.additions.prepare(met)

    def each(self, x: Features) -> Float[Tensor, "B P D"]:
        """The vector of each field; of at least one field."""
        found = self.rows(x.ids)
        return found if self.additions is None else found + self.additions(x)

    def forward(self, x: Features) -> Float[Tensor, "B D"]:
        if not self.layout.fields:
            return self.rows.weight.new_zeros(x.ids.shape[0], self.rows.weight.shape[1])
        summed = self.rows(x.ids).sum(dim=1)
        return summed if self.additions is None else summed + self.additions(x).sum(dim=1)
