"""What all tokenizers share: what they say of items, in fp64.

Ids are computed in fp64 (our design): a score then differs by 1e-15 between batch sizes and runtimes instead of 1e-7,
so that the same item gets the same ids alone, in a batch, and in ONNX Runtime.

The second modality is `graph`, attributes or a knowledge graph, where papers have an image encoder; it is no image.
An item without it has the zero vector, and shares with all such items the words that the zero vector gets.

Legend: N items, B items of a batch, P ids of an item, W width of what is reconstructed.
"""

import copy
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch, ItemSplit


class Tokens(NamedTuple):
    """What a tokenizer says of items."""

    codes: Int64[Tensor, "B P"]
    weights: Float[Tensor, "B P"]
    """How much each id says; 0 where it does not count."""
    target: Float[Tensor, "B W"]
    """The content, as it is to be reconstructed."""
    decoded: Float[Tensor, "B W"]


class Tokenizer(nn.Module):
    """A trained function from content to ids."""

    reads: tuple[str, ...] = ("text", "graph")
    """The vectors of an `ItemBatch` that it looks at."""
    num_words: int
    """Of each codebook that is learnt."""
    num_positions: int
    """P: ids of an item that are learnt."""

    def prepare(self, data: CatalogueData) -> None:
        """Fills what follows from the training part: the words' start, and statistics."""
        raise NotImplementedError

    def tokens(self, batch: ItemBatch) -> Tokens:
        """In the dtype of the weights, which the batch has too."""
        raise NotImplementedError

    def loss(self, batch: ItemBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """What training makes smaller, and scalars to log; a system with stages of its own does without."""
        raise NotImplementedError


AnyTokenizer = TypeVar("AnyTokenizer", bound=Tokenizer)


def everything(split: ItemSplit) -> ItemBatch:
    """All items of a split."""
    return split.batch(np.arange(len(split)))


def exact(tokenizer: AnyTokenizer) -> AnyTokenizer:
    """A copy in fp64, in evaluation mode."""
    return copy.deepcopy(tokenizer).double().eval()


class Judge(nn.Module):
    """Per item, from fp64: ids [B, P], then weights [B, P], then the squared reconstruction error [B, 1]."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer: Tokenizer = exact(tokenizer)

    def forward(self, batch: ItemBatch) -> Float[Tensor, "B _"]:
        doubled = ItemBatch(batch.item, *(part.double() for part in batch[1:]))
        codes, weights, target, decoded = self.tokenizer.tokens(doubled)
        error = (target - decoded).square().sum(1, keepdim=True)
        return torch.cat([codes.double(), weights, error], dim=1)


@torch.no_grad()
def catalogue_tokens(tokenizer: Tokenizer, vectors: ItemBatch, batch_size: int = 4096) -> tuple[Tensor, Tensor]:
    """Ids int64 [N + 1, P] and weights float32 [N + 1, P] of the whole catalogue, whose row 0 gets zeros in both."""
    judging = Judge(tokenizer)
    parts = zip(*(part.split(batch_size) for part in vectors), strict=True)
    answers = torch.cat([judging(ItemBatch(*part)) for part in parts])
    answers[0] = 0.0
    places = tokenizer.num_positions
    return answers[:, :places].long(), answers[:, places:-1].float()
