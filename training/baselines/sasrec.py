"""SASRec: the next item from a history, by causal self-attention.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, https://arxiv.org/abs/1808.09781

Stated: learnt positions, dropout, item vectors shared by input and output; in the authors' code, an L2 penalty on them.

Differs from the paper: cross-entropy over the whole catalogue instead of one sampled negative per place, as public
reruns have it; LayerNorm before attention and feed-forward, GELU, a feed-forward four times as wide inside.

The penalty is part of the loss, not decoupled decay. Adam makes large steps on items that are seldom chosen, so that
without it their vectors become the longest. With it the length of an item's vector, seen from the catalogue's mean,
grows with how often it was chosen; systems that build on the vectors need that.

Legend: B users, L history, N items, M places with a target, d width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.sequences import SequenceBatch, SequenceData
from training.layers.catalogue_loss import catalogue_cross_entropy
from training.layers.generator import newest_state
from training.layers.items import IdEmbedding
from training.layers.listing import Best, best_of_all
from training.layers.transformer import EncoderBlock, causal_bias
from training.schema import Schema
from training.system import System
from training.tasks.next_item import NEXT_ITEM, NextItemConfig
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class Config(NextItemConfig):
    """Sizes and training."""

    dim: int = 64
    """Width of item vectors and states."""
    layers: int = 2
    """Blocks of attention and feed-forward."""
    heads: int = 2
    """Attention heads."""
    dropout: float = 0.3
    """Share of elements dropped after the embedding, attention and feed-forward."""
    item_penalty: float = 3e-5
    """Weight of half of the sum of squares of all item vectors in the loss."""
    learning_rate: float = 2e-3
    """Rate of AdamW."""
    patience: int | None = 3
    """Epochs without a better NDCG@10 on the validation part before training stops."""


GPU = Config(dim=256, heads=4, layers=4, dropout=0.5, epochs=200, batch_size=512, learning_rate=1e-3, patience=10)
"""A run for an accelerator; here it was only started."""


class SASRec(nn.Module):
    """Item vectors, positions and causal blocks."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.items = IdEmbedding(Axis((schema.key("item"),)), config.dim)
        self.positions = nn.Embedding(config.max_length, config.dim)
        nn.init.normal_(self.items.weight, std=0.1)
        nn.init.normal_(self.positions.weight, std=0.1)
        self.blocks = nn.ModuleList(
            EncoderBlock(config.dim, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.norm, self.dropout = nn.LayerNorm(config.dim), nn.Dropout(config.dropout)
        self.item_penalty = config.item_penalty

    def prepare(self, data: SequenceData) -> None:
        """Says which items have a vector of their own: all, as the loss moves those that nobody chose too."""
        self.items.prepare(np.maximum(data.train_item_counts, np.arange(self.items.num_embeddings) > 0))

    def states(self, items: Int64[Tensor, "B L"]) -> Float[Tensor, "B L d"]:
        """What is known after each place; ids that are no item count as unknown."""
        return self.after(self.items(items), self.leanings(items))

    def after(
        self, vectors: Float[Tensor, "B L d"], leanings: Sequence[Float[Tensor, "B H L L"] | None] = ()
    ) -> Float[Tensor, "B L d"]:
        """The same, of items by their vectors, with what each block adds to the logits of its heads."""
        x = self.dropout(vectors + self.positions.weight[: vectors.shape[1]])
        bias = causal_bias(x)
        for block, by_head in zip(self.blocks, leanings or [None] * len(self.blocks), strict=True):
            x = block(x, bias, by_head)
        return self.norm(x)

    def leanings(self, items: Int64[Tensor, "B L"]) -> Sequence[Float[Tensor, "B H L L"] | None]:
        """What each block adds to the logits of its heads: here nothing, for a system that leans on more than ids."""
        return ()

    def loss(self, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of every place's next item, plus the penalty."""
        places = batch.targets > 0
        vectors = self.items.weight
        chosen = catalogue_cross_entropy(self.states(batch.items)[places], vectors[1:], batch.targets[places] - 1)
        return chosen + 0.5 * self.item_penalty * vectors.square().sum(), {}

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        """Of the whole catalogue, by the newest state."""
        newest = newest_state(self.states(items), length)[:, 0]
        return best_of_all(newest @ self.items.weight.T, items, top)


def item_vectors(module: SASRec, _data: SequenceData) -> dict[str, Tensor]:
    """float32 [N + 1, d], row 0 zeros: vectors of the items as seen from their mean, of any length.

    The mean adds the same to every item's score, so it says nothing of an item.
    """
    vectors = module.items.weight[1:].detach()
    return {"item_vectors": torch.cat((torch.zeros_like(vectors[:1]), vectors - vectors.mean(dim=0)))}


SYSTEM = System(
    name="sasrec",
    title="Self-attentive sequential recommendation",
    paper="https://arxiv.org/abs/1808.09781",
    provenance="the paper's model; cross-entropy over the catalogue, pre-norm blocks and sizes are our design",
    task=NEXT_ITEM,
    config=Config,
    gpu=GPU,
    baseline=None,
    build=SASRec,
    products=item_vectors,
    quick={"max_length": 12, "dim": 16, "layers": 1, "batch_size": 32},
)
