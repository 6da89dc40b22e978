"""Popularity: the items that training met most often, for everybody (our design).

An item's score is the number of items behind it, so that there are no ties.

Legend: B users of a batch, N items.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.layers.popular import behind
from training.schema import Schema, size_of
from training.system import System
from training.tasks.retrieval import RETRIEVAL
from training.tasks.retrieval_served import MAX_HISTORY


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to choose."""

    max_length: int = MAX_HISTORY
    """Newest items of a history, which are read by nobody."""


class Popularity(nn.Module):
    """Implements `training.layers.towers.Towers` but for the loss: there are no steps."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.behind = nn.Parameter(torch.zeros(size_of(schema.key("item")), 1), requires_grad=False)

    def prepare(self, data: RetrievalData) -> None:
        """Counts."""
        self.behind[1:, 0] = behind(data.train_item_counts[1:])

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B 1"]:
        """Ones."""
        return torch.ones_like(batch.length[:, None], dtype=self.behind.dtype)

    def items(self) -> Float[Tensor, "N+1 1"]:
        """How many items are behind each."""
        return self.behind


SYSTEM = System(
    name="popularity",
    title="The most popular items",
    paper="",
    provenance="our design",
    task=RETRIEVAL,
    config=Config,
    baseline=None,
    build=Popularity,
    stages=lambda _config: (),
)
