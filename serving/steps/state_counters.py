"""What a step that answers with users' states counts, for Prometheus."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, Self

from serving.steps.step import Host
from serving.watch import families

NO_HISTORY = "no_history"
READ_OUTCOMES = ("hit", "miss", "stale", "corrupt", "store_error", NO_HISTORY)
WRITE_OUTCOMES = ("written", "failed", "no_store")
AGES_S = (1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800)
"""Borders of the buckets of ages."""


class Counters(NamedTuple):
    """Where is counted what came of the store."""

    read: Callable[[str, int], None]
    """(outcome, how many)."""
    written: Callable[[str, int], None]
    """(outcome, how many)."""
    evicted: Callable[[float], None]
    ages: "Ages"
    """Of the states that answered."""
    observed: Callable[[float], None]
    """Events by which states were brought up to date."""

    @classmethod
    def of(cls, host: Host, model: str) -> Self:
        """Those of a model, for Prometheus."""
        return cls(
            host.counter(families.STATE_READS, model, READ_OUTCOMES),
            host.counter(families.STATE_WRITES, model, WRITE_OUTCOMES),
            host.total(families.STATE_EVICTIONS, model),
            Ages.of(host, model),
            host.total(families.STATE_OBSERVED, model),
        )


class Ages(NamedTuple):
    """A histogram of ages in seconds."""

    buckets: Callable[[str, int], None]
    """(label le, how many of at most that)."""
    total: Callable[[float], None]
    number: Callable[[float], None]

    @classmethod
    def of(cls, host: Host, model: str) -> Self:
        """That of a model, for Prometheus."""
        return cls(
            host.counter(families.STATE_AGE_BUCKET, model, [*map(_label, range(len(AGES_S) + 1))]),
            host.total(families.STATE_AGE_SUM, model),
            host.total(families.STATE_AGE_COUNT, model),
        )

    def add(self, ages_s: Sequence[float]) -> None:
        """Counts ages of 0 or more."""
        counts = [0] * (len(AGES_S) + 1)
        for age in ages_s:
            counts[bisect_left(AGES_S, age)] += 1
        for place, number in enumerate(accumulate(counts)):
            if number:
                self.buckets(_label(place), number)
        self.total(sum(ages_s))
        self.number(len(ages_s))


def _label(place: int) -> str:
    return str(AGES_S[place]) if place < len(AGES_S) else "+Inf"
