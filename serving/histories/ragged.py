"""Histories in the file of a release without their padding: the events of all users side by side, and where each user's
begin.

Axes: U users, E events of all of them, L events of one at most.
"""

from collections.abc import Mapping

import numpy as np

from serving.histories.reading import AGES, ITEMS, LENGTH, NAMES, VALUES

STARTS, LONGEST = "history_starts", "history_longest"
"""int64 [U + 1], and [1], L: what stands beside items and values [E]."""
_OF_EVENTS = {ITEMS, VALUES, AGES}


class Ragged:
    """Rows of integers, padded with zeros when they are read, as of an array int64 [U, L]."""

    def __init__(self, flat: np.ndarray, starts: np.ndarray, longest: int) -> None:
        """Integers [E]. Raises ValueError where `starts` are not those of so many."""
        if not len(starts) or starts[0] or starts[-1] != len(flat):
            raise ValueError(f"the histories are not those of {len(flat)} events")
        lengths = np.diff(starts)
        if len(lengths) and not 0 <= lengths.min() <= lengths.max() <= longest:
            raise ValueError(f"a history has fewer events than none, or more than {longest}")
        self._flat, self._starts = flat, starts
        self.shape = len(lengths), longest
        self.dtype = np.dtype(np.int64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """int64 [len(rows), L]"""
        numbers = range(*rows.indices(len(self))) if isinstance(rows, slice) else rows.tolist()
        padded = np.zeros((len(numbers), self.shape[1]), self.dtype)
        for place, number in enumerate(numbers):
            begin, end = self._starts[number : number + 2]
            padded[place, : end - begin] = self._flat[begin:end]
        return padded


Rows = np.ndarray | Ragged


def packed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a file holds of arrays [U, ...]: those of histories without padding, the others as they are.

    Raises ValueError where a history has events behind its end.
    """
    if not {*NAMES} <= arrays.keys():
        return dict(arrays)
    padded = {name: array for name, array in arrays.items() if name in _OF_EVENTS}
    length, longest = arrays[LENGTH], arrays[ITEMS].shape[1]
    inside = np.arange(longest) < length
    if (length > longest).any() or any((array[~inside] != 0).any() for array in padded.values()):
        raise ValueError(f"{', '.join(padded)} must be 0 behind the {LENGTH} of each user, which fits into them")
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(length[:, 0])])
    flat = {name: _narrow(array[inside]) for name, array in padded.items()}
    return {**arrays, **flat, STARTS: starts, LONGEST: np.array([longest])}


def unpacked(arrays: Mapping[str, np.ndarray]) -> dict[str, Rows]:
    """The inverse of `packed`. Raises ValueError for damaged ones."""
    found: dict[str, Rows] = dict(arrays)
    if STARTS in arrays:
        starts, longest = arrays[STARTS], int(arrays[LONGEST][0])
        found |= {name: Ragged(arrays[name], starts, longest) for name in _OF_EVENTS & arrays.keys()}
    return {name: array for name, array in found.items() if name not in (STARTS, LONGEST)}


def _narrow(numbers: np.ndarray) -> np.ndarray:
    """Dense ids and codes fit into half the bytes."""
    fits = not numbers.size or 0 <= numbers.min() <= numbers.max() < 1 << 31
    return numbers.astype(np.int32) if fits else numbers
