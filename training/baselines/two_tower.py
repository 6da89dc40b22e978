"""Two towers: users and items as unit vectors, learnt by a softmax over the batch that is corrected for popularity.

Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019,
https://doi.org/10.1145/3298689.3346996

Stated (section 3): each tower is a network over embeddings; both vectors are divided by their norm and the product by
a temperature; the other items of a batch are the negatives, and the logit of each gets its log-probability of being in
the batch subtracted: s(x, y) - log p(y).

Differs from the paper: p is the item's share of the training events, which are counted, not estimated from a stream;
a negative that is the same item as the positive is masked; no rewards (every positive weighs one); the user's side is
the mean of the history's item embeddings, which both towers share, beside the profile fields.

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
from training.system import System
from training.tasks.retrieval import RETRIEVAL, RetrievalConfig
from training.warm_start import Axis

_MASKED = -1e9


@dataclass(frozen=True, kw_only=True)
class Config(RetrievalConfig):
    """Sizes and training."""

    dim: int = 32
    """Width of embeddings and vectors."""
    hidden: int = 64
    """Units of the layer inside each tower."""
    temperature: float = 0.1
    """Divisor of the products in the loss."""


class TwoTower(nn.Module):
    """Implements `training.layers.towers.Towers`."""

    item_fields: Tensor
    log_share: Tensor

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        key, dim = schema.key("item"), config.dim
        num_rows = size_of(key)
        self.temperature = config.temperature
        self.rows = IdEmbedding(Axis((key,)), dim)
        nn.init.normal_(self.rows.weight, std=dim**-0.5)
        self.of_user, self.of_item = (
            ProfileEmbedding(Layout(fields_of(schema, role)), dim) for role in ("user", "item")
        )
        self.user_tower, self.item_tower = (
            nn.Sequential(nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, dim)) for _ in range(2)
        )
        self.register_buffer("item_fields", torch.zeros(num_rows, len(fields_of(schema, "item")), dtype=torch.int64))
        self.register_buffer("log_share", torch.zeros(num_rows))

    def prepare(self, data: RetrievalData) -> None:
        """Fills the items' fields and the logarithm of their shares of the training events, and says which ids of items
        and fields these have."""
        self.item_fields.copy_(torch.from_numpy(data.item_fields))
        self.rows.prepare(data.train_item_counts)
        train = data.train
        self.of_item.prepare(_columns(data.item_fields[train.targets[:, 0]]).rows, len(train))
        self.of_user.prepare(_columns(data.user_fields[train.user]).rows, len(train))
        counts = torch.from_numpy(data.train_item_counts).double()
        self.log_share.copy_((counts.clamp(min=1) / counts.sum()).log())

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        """Unit vectors; an empty history is zeros before the tower."""
        there = torch.arange(batch.history.shape[1], device=batch.history.device) < batch.length[:, None]
        rows = self.rows(batch.history) * there.unsqueeze(2)
        mean = rows.sum(dim=1) / batch.length.clamp(min=1)[:, None]
        return nn.functional.normalize(self.user_tower(mean + self.of_user(_features(batch.user_fields))), dim=1)

    def items(self) -> Float[Tensor, "N+1 D"]:
        """Unit vectors of all items."""
        return self.item(torch.arange(self.rows.num_embeddings, device=self.rows.weight.device))

    def item(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Unit vectors of items."""
        fields = self.of_item(_features(self.item_fields.index_select(0, ids)))
        return nn.functional.normalize(self.item_tower(self.rows(ids) + fields), dim=1)

    def loss(self, batch: RetrievalBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each user's item among the items of the batch."""
        targets = batch.targets[:, 0]
        products = self.users(batch) @ self.item(targets).T
        return corrected_softmax(products / self.temperature, targets, self.log_share[targets]), {}


def corrected_softmax(
    logits: Float[Tensor, "B B"], items: Int[Tensor, " B"], log_share: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean of -log softmax(s(x_i, y_j) - log p_j)[i] over j; j != i with the same item is left out."""
    corrected = logits - log_share
    own = torch.eye(len(items), dtype=torch.bool, device=items.device)
    same = (items[:, None] == items) & ~own
    return nn.functional.cross_entropy(
        corrected.masked_fill(same, _MASKED), torch.arange(len(items), device=items.device)
    )


def _columns(ids: np.ndarray) -> Columns:
    """Fields of kind id alone, int64 [n, F]."""
    return Columns(ids, np.zeros((len(ids), 0), np.float32), ids[:, :0])


def _features(ids: Int[Tensor, "B F"]) -> Features:
    """Fields of kind id alone."""
    return Features(ids, ids[:, :0].to(torch.get_default_dtype()), ids[:, :0])


SYSTEM = System(
    name="two_tower",
    title="Two towers with a popularity-corrected batch softmax",
    paper="https://doi.org/10.1145/3298689.3346996",
    provenance="the paper's towers, temperature and correction; counted shares, masked equal negatives and the mean of "
    "the history are our design",
    task=RETRIEVAL,
    config=Config,
    baseline=None,
    build=TwoTower,
    reads=frozenset({"users"}),
)
