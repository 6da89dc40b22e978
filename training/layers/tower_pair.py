"""Users and items as unit vectors, by a network each over embeddings that both share.

As Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019,
https://doi.org/10.1145/3298689.3346996, have it. Our design: the user's side is the mean of the history's item
embeddings, which both towers share, beside the profile fields.

Legend: B users of a batch, L history, N items, D width of vectors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.columns import Columns, Layout
from training.data.retrieval import RetrievalBatch, RetrievalData, fields_of
from training.layers.columns import Features
from training.layers.items import IdEmbedding, ProfileEmbedding
from training.schema import Schema, size_of
from training.tasks.retrieval import RetrievalConfig
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class TowerConfig(RetrievalConfig):
    """Sizes and training."""

    dim: int = 32
    """Width of embeddings and vectors."""
    hidden: int = 64
    """Units of the layer inside each tower."""


class TowerPair(nn.Module):
    """Implements `training.layers.towers.Towers` but for the loss."""

    item_fields: Tensor

    def __init__(self, config: TowerConfig, schema: Schema) -> None:
        super().__init__()
        key, dim = schema.key("item"), config.dim
        self.rows = IdEmbedding(Axis((key,)), dim)
        nn.init.normal_(self.rows.weight, std=dim**-0.5)
        self.of_user, self.of_item = (
            ProfileEmbedding(Layout(fields_of(schema, role)), dim) for role in ("user", "item")
        )
        self.user_tower, self.item_tower = (
            nn.Sequential(nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, dim)) for _ in range(2)
        )
        of_items = torch.zeros(size_of(key), len(fields_of(schema, "item")), dtype=torch.int64)
        self.register_buffer("item_fields", of_items)

    def prepare(self, data: RetrievalData) -> None:
        """Fills the items' fields, and says which ids of items and fields the training events have."""
        self.item_fields.copy_(torch.from_numpy(data.item_fields))
        self.rows.prepare(data.train_item_counts)
        train = data.train
        self.of_item.prepare(_columns(data.item_fields[train.targets[:, 0]]).rows, len(train))
        self.of_user.prepare(_columns(data.user_fields[train.user]).rows, len(train))

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        """Unit vectors."""
        return nn.functional.normalize(self.user_tower(self.of_users(batch)), dim=1)

    def of_users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        """What the users' tower reads; of an empty history zeros and the profile."""
        there = torch.arange(batch.history.shape[1], device=batch.history.device) < batch.length[:, None]
        rows = self.rows(batch.history) * there.unsqueeze(2)
        mean = rows.sum(dim=1) / batch.length.clamp(min=1)[:, None]
        return mean + self.of_user(_features(batch.user_fields))

    def items(self) -> Float[Tensor, "N+1 D"]:
        """Unit vectors of all items."""
        return self.item(torch.arange(self.rows.num_embeddings, device=self.rows.weight.device))

    def item(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Unit vectors of items."""
        return self.item_vectors(self.of_items(ids))

    def described(self, fields: Int[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        """Implements `training.layers.towers.DescribesItems`: as of an item that no training event has."""
        nobody = fields.new_zeros(fields.shape[0])
        return self.item_vectors(self.rows(nobody) + self.of_item(_features(fields)))

    def item_vectors(self, read: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Unit vectors, of what the items' tower reads."""
        return nn.functional.normalize(self.item_tower(read), dim=1)

    def of_items(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """What the items' tower reads."""
        return self.rows(ids) + self.of_item(_features(self.item_fields.index_select(0, ids)))


def _columns(ids: np.ndarray) -> Columns:
    """Fields of kind id alone, int64 [n, F]."""
    return Columns(ids, np.zeros((len(ids), 0), np.float32), ids[:, :0])


def _features(ids: Int[Tensor, "B F"]) -> Features:
    """Fields of kind id alone."""
    return Features(ids, ids[:, :0].to(torch.get_default_dtype()), ids[:, :0])
