"""What both ways of finding are asked: a user's vector, items that were met, and items that are left out.

Legend: B requests, N items, D width of vectors, K listed items.
"""

from collections.abc import Callable

import numpy as np
import torch

from recserve.studies.ann.mixture import Mixture
from serving.steps.step import Tensors
from training.layers.item_filters import EXCLUDED, EXCLUDED_OFFSETS, MAX_EXCLUDED
from training.retriever.by_user import clear_rows
from training.servable import Packed, TensorSpec

MET, LEFT_OUT = 20, 5
"""Items of the history, and the most that a request names."""
_DRAWN = 400
_BLOCK = 16

Example = Callable[[int, int], Packed]


def inputs(width: int) -> tuple[TensorSpec, ...]:
    """Of an index, without filters by fields."""
    return (
        TensorSpec(name="vector", dtype="float32", shape=(width,)),
        TensorSpec(name="history_items", dtype="int64", shape=(MET,), minimum=0),
        TensorSpec(name=EXCLUDED, dtype="int64", shape=(EXCLUDED,), ragged=True, max_elements=MAX_EXCLUDED, minimum=0),
        TensorSpec(name=EXCLUDED_OFFSETS, dtype="int32", shape=(), of=EXCLUDED),
    )


def example(vectors: np.ndarray, source: Mixture, top: int) -> Example:
    """Draws requests of which rounding decides no list: what a graph answers is compared with PyTorch, id by id.

    `vectors` float32 [N + 1, D], row 0 the unknown item's.
    """
    asked = source.draw(_DRAWN, 2)
    pool = asked[_clear(vectors, asked, top)]
    if not len(pool):
        raise ValueError("rounding decides each list: ask for fewer items")

    def drawn(number: int, seed: int) -> Packed:
        random = np.random.default_rng(seed)
        met = random.integers(0, len(vectors), (number, MET))
        sizes = random.integers(0, LEFT_OUT + 1, number)
        named = random.integers(1, len(vectors), sizes.sum())
        rows = pool[random.integers(0, len(pool), number)], met, named, np.cumsum(sizes).astype(np.int32)
        return tuple(map(torch.from_numpy, rows))

    return drawn


def fresh(vectors: np.ndarray, source: Mixture, number: int) -> list[Tensors]:
    """Requests of other users than those of any example."""
    random = np.random.default_rng(3)
    return [
        {
            "vector": vector[None],
            "history_items": random.integers(0, len(vectors), (1, MET)),
            EXCLUDED: random.integers(1, len(vectors), (1, LEFT_OUT)),
        }
        for vector in source.draw(number, 3)
    ]


def _clear(vectors: np.ndarray, asked: np.ndarray, top: int) -> list[int]:
    """Rows of users whose list is clear, and that of whatever is left out of it."""
    held, kept = torch.from_numpy(vectors[1:]).T, min(top + MET + LEFT_OUT + 1, len(vectors) - 1)
    found: list[int] = []
    for start in range(0, len(asked), _BLOCK):
        scores = torch.from_numpy(asked[start : start + _BLOCK]) @ held
        found += [start + row for row in clear_rows(torch.topk(scores, kept, dim=1).values)]
    return found
