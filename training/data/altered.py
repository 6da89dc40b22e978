"""Splits of click prediction with other rows or other ids, to measure what a model does with them.

Axes: N samples of a split, F fields.
"""

import numpy as np
import torch

from training.data.click import ClickBatch, ClickSplit

CORRUPTED_FIELDS = (1, 2, 3)
SEED = 0
"""Of the corruption."""


class Damaged:
    """A split's samples with other ids. Implements `training.system.Split`."""

    def __init__(self, split: ClickSplit, ids: np.ndarray) -> None:
        """`ids` int64 [len, F]."""
        self._split, self._ids = split, ids

    def __len__(self) -> int:
        return len(self._split)

    def cost(self) -> np.ndarray:
        return self._split.cost()

    def batch(self, rows: np.ndarray) -> ClickBatch:
        return self._split.batch(rows)._replace(ids=torch.from_numpy(self._ids[rows]))


def corrupt(ids: np.ndarray, cardinalities: tuple[int, ...], anchors: tuple[int, ...], fields: int) -> np.ndarray:
    """int64 [N, F]: in each row so many fields beside the anchors have another known value, drawn uniformly.

    With more fields, those of fewer stay corrupted as they were.
    """
    random = np.random.default_rng(SEED)
    free = np.array([field for field in range(ids.shape[1]) if field not in anchors])
    chosen = free[random.permuted(np.tile(np.arange(len(free)), (len(ids), 1)), axis=1)]
    sizes = np.array(cardinalities)
    shift = random.integers(1, np.maximum(sizes - 1, 2), size=ids.shape)
    other = (ids - 1 + shift) % np.maximum(sizes - 1, 1) + 1
    changed = np.zeros(ids.shape, bool)
    np.put_along_axis(changed, chosen[:, :fields], True, axis=1)
    return np.where(changed, other, ids)


def spaced(split: ClickSplit, rows: int) -> ClickSplit:
    """So many rows of a split at most, evenly spaced."""
    numbers = np.unique(np.linspace(0, len(split) - 1, min(rows, len(split))).astype(np.int64))
    return ClickSplit(split.source, split.places[numbers])
