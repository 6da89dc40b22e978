"""Traffic of a load test, drawn from a data set with its own skew: what tasks make their questions of.

Our design.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from training.interactions import Interactions, RawId, by_user

MEDIAN, SPREAD, LARGEST = 100, 0.8, 1000
"""Candidates of a request: log-normal."""
ITEMS = "items by how often they are met"
VISITORS = "users by the number of their events"
CANDIDATES = (
    f"candidates by how often they are met, their number log-normal (median {MEDIAN}, sigma {SPREAD}, 1 to {LARGEST})"
)
MOMENTS = f"{VISITORS}, each at any point of the history"


class Moment(NamedTuple):
    """A user who comes once."""

    user: RawId
    history: tuple[RawId, ...]
    """Items that were met by then, oldest first; one at least."""


def visitors(interactions: Interactions, random: np.random.Generator, count: int) -> list[RawId]:
    """Users who ask: whoever has twice the events asks twice as often."""
    return interactions.raws("user", _of(interactions.events, "user", random, count))


def items(interactions: Interactions, random: np.random.Generator, count: int) -> list[RawId]:
    """Items, with repetitions: what is met twice as often comes twice as often."""
    return interactions.raws("item", _of(interactions.events, "item", random, count))


def candidates(interactions: Interactions, random: np.random.Generator, most: int) -> tuple[RawId, ...]:
    """Items to rank, `most` at most."""
    size = np.exp(random.normal(np.log(MEDIAN), SPREAD)).astype(int).clip(1, min(LARGEST, most))
    return tuple(items(interactions, random, int(size)))


def moments(interactions: Interactions, events: pl.DataFrame, random: np.random.Generator, count: int) -> list[Moment]:
    """Visitors of these of the set's events, each at any point of their history."""
    users, order = _of(events, "user", random, count), by_user(events)
    sorted_, met = (events[name].to_numpy()[order] for name in ("user", "item"))
    starts, ends = (np.searchsorted(sorted_, users, side) for side in ("left", "right"))
    histories = (
        met[start : start + random.integers(1, end - start + 1)].astype(np.int64)
        for start, end in zip(starts, ends, strict=True)
    )
    raw = zip(interactions.raws("user", users), histories, strict=True)
    return [Moment(user, tuple(interactions.raws("item", history))) for user, history in raw]


def _of(events: pl.DataFrame, column: str, random: np.random.Generator, count: int) -> np.ndarray:
    """int64 [count]: dense ids of events drawn alike, with repetitions."""
    return events[column].to_numpy()[random.integers(0, len(events), count)].astype(np.int64)
