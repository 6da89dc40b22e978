"""Rows of arrays by user id: what a step reads from a file, looked up here with torch.

Axes: U users who have a row, B requests.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from training.servable import Packed


class Rows:
    """Arrays [U, ...] by name with one row for each user; a user who has none reads `unknown`, or zeros."""

    def __init__(
        self, user_ids: np.ndarray, arrays: Mapping[str, np.ndarray], unknown: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Raises ValueError, naming the array, where rows do not belong to ascending user ids int64 [U], and where
        those of `unknown` are unlike them."""
        if user_ids.dtype != np.int64 or user_ids.ndim != 1 or not len(user_ids):
            raise ValueError(f"user_ids is {user_ids.dtype} {list(user_ids.shape)}; it must be int64 [U] of some users")
        if (user_ids[1:] <= user_ids[:-1]).any():
            raise ValueError("user_ids must be ascending, each user once")
        for name, array in arrays.items():
            if array.ndim < 2 or len(array) != len(user_ids):
                raise ValueError(f"'{name}' has shape {list(array.shape)}; it must be [{len(user_ids)}, ...]")
        self._user_ids = torch.from_numpy(user_ids)
        self._arrays = tuple(map(torch.from_numpy, arrays.values()))
        zeros = {name: np.zeros(array.shape[1:], array.dtype) for name, array in arrays.items()}
        strangers = zeros if unknown is None else {name: np.asarray(row) for name, row in unknown.items()}
        if strangers.keys() != zeros.keys():
            raise ValueError(f"unknown has rows of {sorted(strangers)}; it must have those of {sorted(zeros)}")
        for name, row in zeros.items():
            found = strangers[name]
            if (found.dtype, found.shape) != (row.dtype, row.shape):
                said = f"{found.dtype} {list(found.shape)}; it must be {row.dtype} {list(row.shape)}"
                raise ValueError(f"the unknown user's '{name}' is {said}")
        self._unknown = tuple(torch.from_numpy(strangers[name]) for name in arrays)

    def of(self, user_id: Tensor) -> Packed:
        """Of users int64 [B, 1] the rows [B, ...] of each array, in order."""
        users = user_id[:, 0].contiguous()
        rows = torch.searchsorted(self._user_ids, users).clamp(max=len(self._user_ids) - 1)
        is_known = self._user_ids[rows] == users
        return tuple(_where(is_known, array[rows], row) for array, row in zip(self._arrays, self._unknown, strict=True))


def _where(is_known: Tensor, rows: Tensor, unknown: Tensor) -> Tensor:
    return torch.where(is_known.reshape(-1, *(1 for _ in rows.shape[1:])), rows, unknown)
