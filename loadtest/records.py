"""What a load run leaves: one row per request."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

OK = "ok"
WRONG = "wrong"
"""Answered, but not with what the pool says."""


class Records(NamedTuple):
    """Columns, by the time at which a request was meant to be sent."""

    intended: np.ndarray
    """float64 [N], seconds since the start of the load."""
    latency: np.ndarray
    """float64 [N], milliseconds from there to the answer: what a user waits, queueing in the client included."""
    lag: np.ndarray
    """float64 [N], milliseconds by which the load generator sent late: where it is large, it is the bottleneck."""
    size: np.ndarray
    """int64 [N], elements of the largest input."""
    outcome: np.ndarray
    """str [N]: "ok", "wrong", or the name of the error's class."""

    @classmethod
    def of(cls, rows: list[tuple[float, float, float, int, str]]) -> Self:
        """From rows in any order."""
        columns = zip(*sorted(rows), strict=True) if rows else ([], [], [], [], [])
        intended, latency, lag, size, outcome = (list(column) for column in columns)
        return cls(
            np.array(intended, np.float64),
            np.array(latency, np.float64),
            np.array(lag, np.float64),
            np.array(size, np.int64),
            np.array(outcome, np.str_),
        )

    def save(self, path: Path) -> None:
        np.savez(path, **self._asdict())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of `save`."""
        with np.load(path, allow_pickle=False) as columns:
            return cls(*(columns[name] for name in cls._fields))

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """What several workers saw, in the order of time."""
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return cls(*(column[order] for column in columns))

    def between(self, start: float, end: float) -> Self:
        """The requests that were meant to be sent then, with times from `start` on."""
        kept = (self.intended >= start) & (self.intended < end)
        return type(self)(self.intended[kept] - start, *(column[kept] for column in self[1:]))

    @property
    def ok(self) -> np.ndarray:
        """bool [N]"""
        return self.outcome == OK

    @property
    def wrong(self) -> int:
        """Answers that are not what the pool says."""
        return int((self.outcome == WRONG).sum())

    @property
    def errors(self) -> dict[str, int]:
        """Error class -> how many."""
        names, counts = np.unique(self.outcome[~self.ok & (self.outcome != WRONG)], return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
