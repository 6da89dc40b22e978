"""Rows of arrays by user id: what a step reads from a file, looked up here with torch.

Axes: U users who have a row, B requests.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from training.servable import Packed


class Rows:
    """Arrays [U, ...] by name with one row for each user."""

    def __init__(
        self, user_ids: np.ndarray, arrays: Mapping[str, np.ndarray], unknown: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """A user who has no row reads `unknown`, arrays [...] by the same names, or zeros. Raises ValueError, naming
        the array, where rows do not belong to ascending user ids int64 [U], and where `unknown` is unlike them."""
        if user_ids.dtype != np.int64 or user_ids.ndim != 1 or not len(user_ids):
            raise ValueError(f"user_ids is {user_ids.dtype} {list(user_ids.shape)}; it must be int64 [U] of some users")
        if (user_ids[1:] <= user_ids[:-1]).any():
            raise ValueError("user_ids must be ascending, each user once")
        for name, array in arrays.items():
            if array.ndim < 2 or len(array) != len(user_ids):
                raise ValueError(f"'{name}' has shape {list(array.shape)}; it must be [{len(user_ids)}, ...]")
        others = {name: np.zeros_like(array[0]) for name, array in arrays.items()} if unknown is None else unknown
        if others.keys() != arrays.keys():
            raise ValueError(f"unknown has rows of {sorted(others)}; it must have those of {sorted(arrays)}")
        for name, array in arrays.items():
            if (others[name].dtype, others[name].shape) != (array.dtype, array.shape[1:]):
                found, wanted = others[name], array[0]
                raise ValueError(
                    f"the unknown user's '{name}' is {found.dtype} {list(found.shape)}; it must be "
                    f"{wanted.dtype} {list(wanted.shape)}"
                )
        self._unknown = tuple(torch.from_numpy(np.array(others[name])) for name in arrays)
        self._user_ids = torch.from_numpy(user_ids)
        self._arrays = tuple(map(torch.from_numpy, arrays.values()))

    def of(self, user_id: Tensor) -> Packed:
        """Of users int64 [B, 1] the rows [B, ...] of each array, in order."""
        users = user_id[:, 0].contiguous()
        rows = torch.searchsorted(self._user_ids, users).clamp(max=len(self._user_ids) - 1)
        is_known = self._user_ids[rows] == users
        pairs = zip(self._arrays, self._unknown, strict=True)
        return tuple(_where(is_known, array[rows], unknown) for array, unknown in pairs)


def _where(is_known: Tensor, rows: Tensor, unknown: Tensor) -> Tensor:
    return torch.where(is_known.reshape(-1, *(1 for _ in rows.shape[1:])), rows, unknown)
