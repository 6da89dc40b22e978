"""One order of hierarchical probabilistic hashing: how often keys occurred, exactly for some and bounded for the rest.

MATT-CTR (arXiv 2510.08932) states that frequent combinations are isolated with a min-heap and that rare ones are
bounded from below, probabilistically; its formulas were not at hand. Our design: the H most frequent keys are held
with their counts, all others go into the blocked count sketch of `sketch.py`. For a key k that comes n times,

    (1) k is held:           count(k) += n
    (2) else                 estimate(k) = lower(k) + n
    (3) of the held keys and the new ones, the H with the largest (count or estimate, then the smaller key) are held;
        a key that comes in takes its lower(k) out of the sketch, one that goes puts its count back

Every occurrence is in the held counts or in the sketch, never in both, so that both add up over shards. Held keys are
an array in the order of the keys: a chunk of the log is one selection, and a lookup is a bisection in mapped memory.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kernels.path_sampling import cpu
from kernels.path_sampling.sketch import Layout

_NO_KEY = np.iinfo(np.int64).max
"""Marks a free place; its count is 0."""


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """What the counts of one order may cost."""

    held: int
    """H: keys that are counted exactly, 16 bytes each."""
    layout: Layout
    """Of the sketch: `blocks` blocks of 32 or 64 bytes."""

    def __post_init__(self) -> None:
        if self.held < 1:
            raise ValueError(f"held is {self.held}; at least one key must be held")

    @property
    def bytes(self) -> int:
        """Memory of the counts, whatever is counted."""
        return 16 * self.held + self.layout.block_bytes * self.layout.blocks


@dataclass(frozen=True, eq=False)
class Level:
    """Counts of one order."""

    options: LevelOptions
    keys: np.ndarray
    """int64 [H], ascending: the held keys, then free places."""
    counts: np.ndarray
    """int64 [H]: of the held keys, 0 for free places."""
    sketch: np.ndarray
    """int32 [N, D, W]: the occurrences of all other keys."""

    def __post_init__(self) -> None:
        layout = self.options.layout
        expected = {
            "keys": (np.dtype(np.int64), (self.options.held,)),
            "counts": (np.dtype(np.int64), (self.options.held,)),
            "sketch": (np.dtype(np.int32), (layout.blocks, layout.rows, layout.width)),
        }
        for name, wanted in expected.items():
            array = getattr(self, name)
            if (array.dtype, array.shape) != wanted:
                dtype, shape = wanted
                raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; it must be {dtype} {list(shape)}")

    @classmethod
    def empty(cls, options: LevelOptions) -> Self:
        """Nothing counted yet."""
        return cls(
            options, np.full(options.held, _NO_KEY), np.zeros(options.held, np.int64), options.layout.empty().numpy()
        )

    @property
    def largest(self) -> int:
        """The count of the most frequent key."""
        return int(self.counts.max())

    def lower(self, keys: np.ndarray) -> np.ndarray:
        """int64, of the shape of `keys` int64: the count of a held key, a lower bound for any other."""
        asked = keys.reshape(-1)
        place, is_held = self._find(asked)
        bounds = self.counts[place]
        others = np.flatnonzero(~is_held)
        bounds[others] = cpu.sketch_lookup(self.sketch, asked[others], self.options.layout)
        return bounds.reshape(keys.shape)

    def add(self, keys: np.ndarray) -> None:
        """Counts occurrences, int64 [n]."""
        unique, counts = np.unique(keys, return_counts=True)
        place, is_held = self._find(unique)
        self.counts[place[is_held]] += counts[is_held]
        self._admit(unique[~is_held], counts[~is_held])

    def merge(self, other: Self) -> Self:
        """The counts of both logs; both have the same options."""
        merged = type(self).empty(self.options)
        np.add(self.sketch, other.sketch, out=merged.sketch)
        keys, place = np.unique(np.concatenate((self.keys, other.keys)), return_inverse=True)
        counts = np.zeros(len(keys), np.int64)
        np.add.at(counts, place, np.concatenate((self.counts, other.counts)))
        merged._admit(keys[counts > 0], counts[counts > 0])
        return merged

    def _find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places int64 [n] among the held keys, and whether each key is there, bool [n]."""
        place = np.minimum(np.searchsorted(self.keys, keys), self.options.held - 1)
        return place, self.keys[place] == keys

    def _admit(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Eq. (2) and (3) for different keys int64 [n] that are not held."""
        taken = cpu.sketch_lookup(self.sketch, keys, self.options.layout)
        pool_keys = np.concatenate((self.keys, keys))
        pool_counts = np.concatenate((self.counts, counts + taken))
        stays = np.zeros(len(pool_keys), bool)
        stays[np.lexsort((pool_keys, -pool_counts))[: self.options.held]] = True
        leaves, enters = ~stays[: self.options.held], stays[self.options.held :]
        self._put(self.keys[leaves], self.counts[leaves])
        self._put(keys, np.where(enters, -taken, counts))
        order = np.argsort(pool_keys[stays])
        self.keys[:], self.counts[:] = pool_keys[stays][order], pool_counts[stays][order]

    def _put(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Adds counts, which may be negative, to the sketch."""
        index, sign = cpu.cells(keys, self.options.layout)
        np.add.at(self.sketch.reshape(-1), index.reshape(-1), (sign * counts.astype(np.int32)[:, None]).reshape(-1))
