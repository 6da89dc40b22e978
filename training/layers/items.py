"""What a history model knows of an item, of an item with a value in a history, and of a user's fields.

Legend: N items with the unknown one, M values with the unknown one, D width, P fields of a profile, B batch.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.columns import Columns, Layout
from training.data.statistics import Samples, measured
from training.layers.columns import Features, SetMean, additions
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


class ItemTable(nn.Module):
    """Item vector = row of a known item + its profile fields + its popularity bucket; by dense id, 0 = unknown."""

    row_of: Int64[Tensor, " N"]
    bucket_of: Int64[Tensor, " N"]
    ids: Int64[Tensor, "N P"]
    dense: Float[Tensor, "N Pd"]
    sets: Int64[Tensor, "N Ps"]

    def __init__(self, key: Field, layout: Layout, dim: int) -> None:
        super().__init__()
        num_items = size_of(key)
        self.key = key
        self.rows = nn.Embedding(num_items, dim)
        self.popularity = nn.Embedding(NUM_POPULARITY_BUCKETS, dim)
        self.sets_of = layout.sets
        self.set_means = nn.ModuleList(SetMean(layout.fields[one.place], dim) for one in layout.sets)
        nn.init.normal_(self.rows.weight, std=0.1)
        nn.init.normal_(self.popularity.weight, std=0.1)
        # Multi-valued fields are the means above.
        self.places = tuple(place for place, field in enumerate(layout.fields) if field.kind != "multi")
        others = Layout(tuple(layout.fields[place] for place in self.places))
        self.profile = ProfileEmbedding(others, dim) if self.places else None
        self.register_buffer("row_of", torch.zeros(num_items, dtype=torch.int64))
        self.register_buffer("bucket_of", torch.zeros(num_items, dtype=torch.int64))
        self.register_buffer("ids", torch.zeros(num_items, len(layout.fields), dtype=torch.int64))
        self.register_buffer("dense", torch.zeros(num_items, len(layout.dense)))
        self.register_buffer("sets", torch.zeros(num_items, layout.set_width, dtype=torch.int64))

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"rows.weight": Axis((self.key,))}

    def prepare(self, train_counts: np.ndarray, values: Columns, train_items: np.ndarray) -> None:
        """Fill the buffers: which items have a row by their training events int64 [N], their fields; `train_items`
        int64 are the items of the training samples, over which means are taken."""
        counts = torch.from_numpy(train_counts)
        self.row_of.copy_(torch.where(counts >= MIN_TRAIN_COUNT, torch.arange(len(counts)), 0))
        self.bucket_of.copy_(popularity_bucket(counts))
        for name, array in values._asdict().items():
            self.get_buffer(name).copy_(torch.from_numpy(array))
        own = Columns(values.ids[:, self.places], values.dense, values.sets[:, :0])
        if self.profile is not None:
            self.profile.prepare(lambda rows: own.rows(train_items[rows]), len(train_items))

    def forward(self) -> Float[Tensor, "N D"]:
        """Vectors of all items."""
        vectors = self.rows(self.row_of) + self.popularity(self.bucket_of)
        for mean, one in zip(self.set_means, self.sets_of, strict=True):
            vectors = vectors + mean(self.sets[:, one.start : one.stop])
        if self.profile is not None:
            vectors = vectors + self.profile(Features(self.ids[:, self.places], self.dense, self.sets[:, :0]))
        return vectors


class BehaviourTable(nn.Module):
    """Vector of (item, value): SiLU(W (item + value)); row item * M + value."""

    def __init__(self, num_values: int, dim: int) -> None:
        super().__init__()
        self.num_values = num_values
        self.rating = nn.Embedding(num_values, dim)
        self.mix = nn.Linear(dim, dim)
        nn.init.normal_(self.rating.weight, std=0.1)

    def forward(self, items: Float[Tensor, "N D"]) -> Float[Tensor, "NM D"]:
        """All pairs."""
        pairs = items[:, None, :] + self.rating.weight[None, :, :]  # (N, M, D)
        return nn.functional.silu(self.mix(pairs)).flatten(0, 1)

    def index(self, items: Int[Tensor, "*B"], values: Int[Tensor, "*B"], num_items: int) -> Int[Tensor, "*B"]:
        """Row of each event; unknown items and values take id 0."""
        return known(items, num_items) * self.num_values + known(values, self.num_values)

    def of(self, items: Float[Tensor, "*B D"], values: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """The same of some pairs: items by their vectors."""
        return nn.functional.silu(self.mix(items + self.rating(known(values, self.num_values))))


class ProfileEmbedding(nn.Module):
    """Sum of one vector for each field; 0 is unknown in each."""

    cardinalities: Int64[Tensor, " P"]
    offsets: Int64[Tensor, " P"]

    def __init__(self, layout: Layout, dim: int) -> None:
        super().__init__()
        self.layout = layout
        sizes = torch.tensor(layout.sizes, dtype=torch.int64)
        self.rows = nn.Embedding(int(sizes.sum()), dim)
        nn.init.normal_(self.rows.weight, std=0.1)
        self.additions = additions(layout, dim, 0.1)
        self.register_buffer("cardinalities", sizes)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes)

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"rows.weight": Axis(self.layout.fields)}

    def prepare(self, samples: Samples, num_samples: int) -> None:
        """Means and deviations of dense fields over training samples, given by their numbers."""
        if self.additions is not None:
            self.additions.prepare(measured(self.layout, samples, num_samples))

    def forward(self, x: Features) -> Float[Tensor, "B D"]:
        if not self.layout.fields:
            return self.rows.weight.new_zeros(x.ids.shape[0], self.rows.weight.shape[1])
        summed = self.rows(known(x.ids, self.cardinalities) + self.offsets).sum(dim=1)
        return summed if self.additions is None else summed + self.additions(x).sum(dim=1)
