"""Traffic of a load test, drawn from a data set with its own skew: what tasks make their questions of.

Our design.
"""

from typing import NamedTuple

import numpy as np

from training.interactions import Interactions, RawId

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
    """Items that were met by then, oldest first; one at least, unless the user has met none."""


def visitors(interactions: Interactions, random: np.random.Generator, count: int) -> list[RawId]:
    """Users who ask: whoever has twice the events asks twice as often."""
    return interactions.raws("user", _of_events(interactions, "user", random, count))


def items(interactions: Interactions, random: np.random.Generator, count: int) -> list[RawId]:
    """Items, with repetitions: what is met twice as often comes twice as often."""
    return interactions.raws("item", _of_events(interactions, "item", random, count))


def candidates(interactions: Interactions, random: np.random.Generator, most: int) -> tuple[RawId, ...]:
    """Items to rank, `most` at most."""
    size = np.exp(random.normal(np.log(MEDIAN), SPREAD)).astype(int).clip(1, min(LARGEST, most))
    return tuple(items(interactions, random, int(size)))


def moments(
    interactions: Interactions, random: np.random.Generator, count: int, *, positive: bool = False
) -> list[Moment]:
    """Visitors, each at any point of the history; with `positive` of events with a label above 0."""
    users = _of_events(interactions, "user", random, count)
    met = {user: interactions.items_of(user, positive=positive)[::-1] for user in np.unique(users).tolist()}
    lengths = [int(random.integers(1, max(2, len(met[user]) + 1))) for user in users.tolist()]
    histories = [
        tuple(interactions.raws("item", met[user][:length]))
        for user, length in zip(users.tolist(), lengths, strict=True)
    ]
    return [Moment(*one) for one in zip(interactions.raws("user", users), histories, strict=True)]


def _of_events(interactions: Interactions, column: str, random: np.random.Generator, count: int) -> np.ndarray:
    """int64 [count]: dense ids of events drawn alike, with repetitions."""
    return interactions.events[column].to_numpy()[random.integers(0, len(interactions.events), count)].astype(np.int64)
