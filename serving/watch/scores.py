"""Scores that a model answered, counted by bins: the hot path hands them over, a thread counts and tells the server."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from serving.watch import families
from serving.watch.prometheus import Prometheus
from serving.watch.reference import Reference, counted, drift, scores_of, shares

_COUNT_S = 0.05
"""Small portions: no request waits for long while one is counted."""
_TOLD_EVERY = 20
"""Portions: once a second the server is told, of each series that moved."""
LEAST_REQUESTS = 1_000
"""Before drift is said: of fewer requests chance alone moves it."""
_MOST_REQUESTS = 20_000
"""Of which drift speaks; then the older half weighs half."""
_MOST_WAITING = 4_096
"""Answers that wait to be counted; those beyond are not counted, should the thread ever fall behind."""


class _Series(NamedTuple):
    bins: tuple[Callable[[float], None], ...]
    buckets: tuple[Callable[[float], None], ...]
    number: Callable[[float], None]
    not_finite: Callable[[float], None]
    drift: Callable[[float], None]

    @classmethod
    def of(cls, prometheus: Prometheus, model: str, version: str, reference: Reference) -> "_Series":
        edges, names = reference.scores.edges, bin_names(len(reference.scores.counts))
        for name, share in zip(names, reference.scores.shares, strict=True):
            prometheus.gauge(families.SCORE_EXPECTED, model, version, name, reference.source)(float(share))
        return cls(
            tuple(prometheus.counter(families.SCORE_BIN, model, version, name) for name in names),
            tuple(
                prometheus.counter(families.SCORE_BUCKET, model, version, le)
                for le in (*(f"{edge:.9g}" for edge in edges), "+Inf")
            ),
            prometheus.counter(families.SCORE_COUNT, model, version),
            prometheus.counter(families.SCORE_NOT_FINITE, model, version),
            prometheus.gauge(families.SCORE_DRIFT, model, version, reference.source),
        )


class Scores:
    """Counts the scores of one version of a model in one process."""

    def __init__(self, prometheus: Prometheus, model: str, version: str, reference: Reference) -> None:
        self._reference = reference
        self._edges = np.array(reference.scores.edges)
        self._series = _Series.of(prometheus, model, version, reference)
        self._series.drift(float("nan"))
        self._waiting: list[np.ndarray] = []
        self._recent, self._requests = np.zeros(len(self._edges) + 1), 0.0
        self._new, self._not_finite = np.zeros(len(self._edges) + 1, np.int64), 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, output: np.ndarray) -> None:
        """The scores of one request, which nobody writes to later; returns at once."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(output)

    def close(self) -> None:
        """Counts and tells the rest."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        portions = 0
        while not self._closed.wait(_COUNT_S):
            self._count()
            portions += 1
            if portions % _TOLD_EVERY == 0:
                self._tell()
        self._count()
        self._tell()

    def _count(self) -> None:
        number = len(self._waiting)
        if not number:
            return
        # Others only append: what is taken here stands in front.
        taken = self._waiting[:number]
        del self._waiting[:number]
        scores, not_finite = scores_of(np.concatenate([one.reshape(-1) for one in taken]).astype(np.float64))
        bins = counted(self._edges, scores)
        self._new += bins
        self._not_finite += not_finite
        self._recent, self._requests = self._recent + bins, self._requests + number
        if self._requests >= _MOST_REQUESTS:
            self._recent, self._requests = self._recent / 2, self._requests / 2

    def _tell(self) -> None:
        series, new = self._series, self._new
        if self._not_finite:
            series.not_finite(self._not_finite)
        if new.any():
            for tell, more in zip((*series.bins, *series.buckets), (*new, *np.cumsum(new)), strict=True):
                if more:
                    tell(int(more))
            series.number(int(new.sum()))
            if self._requests >= LEAST_REQUESTS:
                series.drift(drift(self._reference.scores.shares, shares(self._recent)))
        self._new, self._not_finite = np.zeros_like(new), 0


def bin_names(number: int) -> list[str]:
    """Labels of bins, which sort as the bins do."""
    return [f"{place:02d}" for place in range(number)]
