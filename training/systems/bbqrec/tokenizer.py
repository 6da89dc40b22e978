"""BBQ as a tokenizer among others: what a run measures, and what it leaves for those who build on it.

Legend: N items, S = 3 sources, L levels, d width of latents.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from training.baselines.rqvae import tell_apart
from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.contrast import info_nce
from training.layers.residual import sum_of_words
from training.layers.tokenizer import catalogue_tokens, exact
from training.system import Predict
from training.systems.bbqrec.aims import none_of
from training.systems.bbqrec.neighbours import BoundSplit
from training.systems.bbqrec.quantiser import BBQ, SHARED, SOURCES
from training.tasks.semantic_ids import judge, metrics, width_read

_PAIRS = 4_096
"""Pairs of neighbours at most by which ids are judged, and how many are each other's negatives."""
_BLOCK = 256


def evaluate(module: BBQ, predict: Predict, split: BoundSplit) -> dict[str, float]:
    """Of the items; and from the ids of what is shared: `neighbours_alike` and `strangers_alike`, the shares of
    neighbours in training histories, and of these drawn anew, with the same first code; `contrast`, how well their
    words tell a neighbour from others, by which the best weights are chosen."""
    measured = metrics(module, judge(module, predict, split), width_read(module, split))
    codes = torch.from_numpy(judge(module, predict, split.catalogue).codes[:, -module.config.levels :])
    order = np.random.default_rng(0).permutation(split.pairs.shape[1])
    mine, theirs = torch.from_numpy(split.pairs[:, order[:_PAIRS]])
    strangers = theirs[torch.from_numpy(np.random.default_rng(1).permutation(len(theirs)))]
    for name, other in (("neighbours_alike", theirs), ("strangers_alike", strangers)):
        measured[name] = float((codes[mine, 0] == codes[other, 0]).double().mean()) if len(mine) else 0.0
    words = words_of(module, codes)
    blocks = zip(mine.split(_BLOCK), theirs.split(_BLOCK), strict=True)
    lost = [info_nce(words[one], words[other], module.config.temperature, none_of(one, other)) for one, other in blocks]
    return {**measured, "contrast": float(torch.cat(lost).mean()) if lost else 0.0}


@torch.no_grad()
def words_of(module: BBQ, codes: Int64[Tensor, "N L"]) -> Float[Tensor, "N d"]:
    """The sum of the words of what is shared."""
    books = module.book(SHARED).books
    return torch.stack(
        [book.words[0].cpu()[level] for book, level in zip(books, codes.unbind(dim=1), strict=True)]
    ).sum(0)


def products(module: BBQ, data: CatalogueData) -> dict[str, Tensor]:
    """`codes` int64 [N + 1, L + 1] of what is shared, the last one telling collisions apart, and `weights` float32,
    ones; row 0 zeros. `sources` int64 [N + 1, S, L], -1 where an item has none, and `quantised` float32 [N + 1, S, d],
    zeros there."""
    codes, weights = catalogue_tokens(module, data.vectors)
    levels = module.config.levels
    shared = codes[:, -levels:]
    number = torch.zeros(len(codes), 1, dtype=torch.int64)
    number[1:, 0] = tell_apart(shared[1:], module.config.words)
    there = weights.reshape(-1, len(SOURCES), levels) > 0
    return {
        "codes": torch.cat([shared, number], dim=1),
        "weights": torch.ones(len(codes), levels + 1).index_fill(0, torch.zeros(1, dtype=torch.int64), 0.0),
        "sources": codes.reshape(-1, len(SOURCES), levels).where(there, -1),
        "quantised": torch.where(there[:, :, :1], quantised(module, data.vectors), 0.0),
    }


@torch.no_grad()
def quantised(module: BBQ, vectors: ItemBatch, batch_size: int = 4096) -> Float[Tensor, "N S d"]:
    """The words that stand for each source of each item, from fp64."""
    wide, found = exact(module), []
    for rows in torch.arange(len(vectors.item)).split(batch_size):
        batch = ItemBatch(vectors.item[rows], *(part[rows].double() for part in vectors[1:]))
        found.append(torch.stack([*map(sum_of_words, wide.encode(batch).found)], dim=1).float())
    return torch.cat(found)
