"""Latency of several ways to answer the same question, side by side in one run."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Percentiles(NamedTuple):
    """Of one call, in milliseconds."""

    p50: float
    p95: float
    p99: float


def measure(
    calls: Mapping[str, Callable[[], object]],
    repetitions: int,
    warm_up: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Percentiles]:
    """Calls all in turn, so that a change of the machine's speed meets each of them alike (closed loop, one caller)."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repetition in range(warm_up + repetitions):
        for name, call in calls.items():
            start = clock()
            call()
            elapsed = clock() - start
            if repetition >= warm_up:
                times[name].append(elapsed * 1e3)
    return {name: Percentiles(*(float(p) for p in np.percentile(taken, (50, 95, 99)))) for name, taken in times.items()}


def times_of(calls: Sequence[Callable[[], object]], clock: Callable[[], float] = time.perf_counter) -> np.ndarray:
    """Milliseconds [N] of each call, in turn, after one round to warm up."""
    for call in calls:
        call()
    taken = []
    for call in calls:
        start = clock()
        call()
        taken.append(1e3 * (clock() - start))
    return np.array(taken)
