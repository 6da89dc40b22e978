"""BBQ as a tokenizer among others: what a run measures, and what it leaves for those who build on it.

Legend: N items, S = 3 sources, L levels, d width of latents.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from training.baselines.rqvae import tell_apart
from training.data.catalogue import CatalogueData, ItemBatch, ItemSplit
from training.layers.residual import sum_of_words
from training.layers.tokenizer import catalogue_tokens, exact
from training.system import Predict
from training.systems.bbqrec.quantiser import BBQ, SOURCES
from training.tasks.semantic_ids import judge, metrics, width_read


def evaluate(module: BBQ, predict: Predict, split: ItemSplit) -> dict[str, float]:
    """Of the items; and `neighbours_alike` and `strangers_alike`, how many neighbours of training histories, and how
    many pairs drawn from those at random, share the first code of what is shared."""
    judged = judge(module, predict, split)
    measured = metrics(module, judged, width_read(module, split))
    codes = np.full(len(module.text), -1)
    codes[split.item] = judged.codes[:, 2 * module.config.levels]
    pairs = module.partners.pairs().cpu().numpy()
    pairs = pairs[:, (codes[pairs] >= 0).all(0)]
    shuffled = np.random.default_rng(0).permutation(pairs.shape[1])
    for name, other in (("neighbours_alike", pairs[1]), ("strangers_alike", pairs[1][shuffled])):
        measured[name] = float((codes[pairs[0]] == codes[other]).mean()) if pairs.size else 0.0
    return measured


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
