"""How fast the relevance of later items falls in a data set, which is what a step of the list weighs (our design).

An item k steps on is relevant where it is among the 50 that other users have most often near the same item. The share
of such items falls with k; its ratio from one step to the next is gamma.

Legend: P pairs of places, N items.
"""

from collections.abc import Sequence

import numpy as np

STEPS = 5
"""k of which shares are measured, and places within which items are near each other."""
_MOST = 50
_READ = 50_000
"""Sequences that are read at most: the first ones."""


def relevance(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """float64 [5]: share of the items k = 1 .. 5 steps on that are relevant, 0 where there are none."""
    pairs = [_pairs(sequences[:_READ], step) for step in range(1, STEPS + 1)]
    near = np.concatenate([side for user, first, second in pairs for side in _both(user, first, second)], axis=1)
    if not near.shape[1]:
        return np.zeros(STEPS)
    size = int(near[1:].max()) + 1
    shape = (len(sequences), size, size)
    # Each user counts once for a pair of items.
    _, first, second = np.unravel_index(np.unique(np.ravel_multi_index(tuple(near), shape)), shape)
    known, counts = np.unique(first * size + second, return_counts=True)
    return np.array([_share(known, counts, size, first, second) for _, first, second in pairs])


def gamma(shares: np.ndarray) -> float:
    """The ratio of neighbouring shares, as the geometric mean over the steps; 1 where nothing falls or is known."""
    if not shares.all():
        return 1.0
    return float(min(1.0, (shares[-1] / shares[0]) ** (1 / (len(shares) - 1))))


def _pairs(sequences: Sequence[np.ndarray], step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 [P] each: users by number, their items, and what each of these is followed by `step` places on."""
    users = np.repeat(np.arange(len(sequences)), [max(0, len(one) - step) for one in sequences])
    first, second = (
        np.concatenate([np.zeros(0, np.int64), *(one[part] for one in sequences)])
        for part in (slice(None, -step), slice(step, None))
    )
    return users, first, second


def _both(user: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([user, first, second]), np.stack([user, second, first])


def _share(known: np.ndarray, counts: np.ndarray, size: int, first: np.ndarray, second: np.ndarray) -> float:
    """Share of the pairs whose second item has at least one other user, and fewer than 50 others have more."""
    if not len(first):
        return 0.0
    others = counts[np.searchsorted(known, first * size + second)] - 1
    # By item, and within it the most frequent first.
    most = int(counts.max()) + 1
    ranked = np.sort(known // size * most + (most - 1 - counts))
    ahead = np.searchsorted(ranked, first * most + (most - 1 - others)) - np.searchsorted(ranked, first * most)
    # The pair itself counts one user more than others do, so it is ahead of itself.
    return float(((others > 0) & (ahead - 1 < _MOST)).mean())
