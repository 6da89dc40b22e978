"""What an epoch goes through: each user once, with all that trained.

Legend: B users of a batch, L history.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from training.data.retrieval import RetrievalData
from training.data.user_rows import user_rows


class Met(NamedTuple):
    """Users of a batch."""

    history: Int64[Tensor, "B L"]
    """Items, 0 beyond the last."""


class Users:
    """Users who met something in the training part. Implements `training.system.Split`."""

    def __init__(self, data: RetrievalData) -> None:
        met = user_rows(data)
        sizes = np.diff(met.indptr)
        self._items, self._start, self._size = met.indices, met.indptr[:-1][sizes > 0], sizes[sizes > 0]

    def __len__(self) -> int:
        return len(self._size)

    def cost(self) -> np.ndarray:
        """int64 [len]: the number of items of each."""
        return self._size.astype(np.int64)

    def batch(self, rows: np.ndarray) -> Met:
        """The users with these numbers, in this order; at least one."""
        size = self._size[rows]
        steps = np.arange(int(size.max()))
        place = np.minimum(self._start[rows][:, None] + steps, len(self._items) - 1)
        history = np.where(steps < size[:, None], self._items[place], 0)
        return Met(torch.from_numpy(history.astype(np.int64)))
