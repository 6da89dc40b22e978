"""GRU4Rec: the next item from a history, by a recurrent network.

Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016,
https://arxiv.org/abs/1511.06939

Stated: one layer of gated recurrent units over the items of a session, scores of the items from its newest state.

Differs from the paper: cross-entropy over the whole catalogue instead of a ranking loss (BPR, TOP1) over the items of
the mini-batch; each history is a window of its own, not a place in a session-parallel batch whose states are carried
on; vectors of items shared by input and output, as an option of the authors' code has it; AdamW.

Legend: B users, L history, N items, d width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.sequences import SequenceBatch, SequenceData
from training.layers.catalogue_loss import catalogue_cross_entropy
from training.layers.generator import newest_state
from training.layers.items import IdEmbedding
from training.layers.listing import Best, best_of_all
from training.schema import Schema
from training.system import System
from training.tasks.next_item import NEXT_ITEM, NextItemConfig
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class Config(NextItemConfig):
    """Sizes and training: as SASRec's where both have them, so that only what reads the history differs."""

    dim: int = 64
    """Width of item vectors, and units of each layer."""
    layers: int = 1
    """Layers of recurrent units."""
    dropout: float = 0.3
    """Share of elements dropped after the embedding and before the scores."""
    learning_rate: float = 2e-3
    """Rate of AdamW."""
    patience: int | None = 3
    """Epochs without a better NDCG@10 on the validation part before training stops."""


class GRU4Rec(nn.Module):
    """Item vectors and recurrent layers."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.items = IdEmbedding(Axis((schema.key("item"),)), config.dim)
        nn.init.normal_(self.items.weight, std=0.1)
        self.gru = nn.GRU(config.dim, config.dim, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def prepare(self, data: SequenceData) -> None:
        """Says which items have a vector of their own: all, as the loss moves those that nobody chose too."""
        self.items.prepare(np.maximum(data.train_item_counts, np.arange(self.items.num_embeddings) > 0))

    def states(self, items: Int64[Tensor, "B L"]) -> Float[Tensor, "B L d"]:
        """What is known after each place; ids that are no item count as unknown."""
        states, _ = self.gru(self.dropout(self.items(items)))
        return self.dropout(states)

    def loss(self, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of every place's next item."""
        places = batch.targets > 0
        states = self.states(batch.items)[places]
        return catalogue_cross_entropy(states, self.items.weight[1:], batch.targets[places] - 1), {}

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        """Of the whole catalogue, by the newest state."""
        newest = newest_state(self.states(items), length)[:, 0]
        return best_of_all(newest @ self.items.weight.T, items, top)


SYSTEM = System(
    name="gru4rec",
    title="Session-based recommendation with recurrent networks",
    paper="https://arxiv.org/abs/1511.06939",
    provenance="the paper's network; cross-entropy over the catalogue, shared item vectors and sizes are our design",
    task=NEXT_ITEM,
    config=Config,
    baseline=None,
    build=GRU4Rec,
    quick={"max_length": 12, "dim": 16},
)
