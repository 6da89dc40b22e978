"""Timed calls of very unlike cost, interleaved over one run."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from loadtest.latency import Percentiles

FEWEST = 5
BUDGET_MS = 6000.0
"""Time for one case, unless its fewest repetitions take longer."""
BURST = 10
"""Calls of a fast case in a row, after one that does not count: a model that serves is not cold from another one."""
_FAST = 10 * BURST
"""Repetitions from which on a case is asked in bursts; a slow one would only lose time by it."""

Call = Callable[[int], object]
"""Asks with the request of this number; numbers beyond the last request begin again."""
Case = TypeVar("Case")


class Timing(NamedTuple):
    """Of one case, in milliseconds."""

    percentiles: Percentiles
    repetitions: int


def repetitions_of(cost_ms: float, most: int) -> int:
    """As many as fit `BUDGET_MS`, at least `FEWEST`, at most `most`."""
    return int(np.clip(BUDGET_MS / cost_ms, min(FEWEST, most), most))


def schedule(repetitions: Mapping[Case, int], seed: int = 0) -> list[tuple[Case, range]]:
    """Every case's repetitions in bursts, spread evenly over the run, in an order that is drawn anew all the time."""
    random = np.random.default_rng(seed)
    bursts: list[tuple[float, Case, range]] = []
    for case, count in repetitions.items():
        size = BURST if count >= _FAST else 1
        parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
        moments = (np.arange(len(parts)) + random.random(len(parts))) / len(parts)
        bursts += [(moment, case, part) for moment, part in zip(moments.tolist(), parts, strict=True)]
    return [(case, part) for _, case, part in sorted(bursts, key=lambda burst: burst[0])]


def interleaved(
    calls: Mapping[Case, Call],
    most: int,
    progress: Callable[[int, int], None],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Case, Timing]:
    """Times all calls in one run, each up to `most` times, so that a change of the machine's speed meets all alike.

    Two calls each before it are not counted; they warm up, and the faster one says what a case costs.
    `progress` is told (done, in all).
    """
    costs = {case: min(_milliseconds(call, number, clock) for number in range(2)) for case, call in calls.items()}
    repetitions = {case: repetitions_of(cost, most) for case, cost in costs.items()}
    times: dict[Case, list[float]] = {case: [] for case in calls}
    done, total = 0, sum(repetitions.values())
    for case, numbers in schedule(repetitions):
        if repetitions[case] >= _FAST:
            calls[case](numbers.start)
        times[case] += [_milliseconds(calls[case], number, clock) for number in numbers]
        done += len(numbers)
        progress(done, total)
    return {
        case: Timing(Percentiles(*(float(p) for p in np.percentile(taken, (50, 95, 99)))), len(taken))
        for case, taken in times.items()
    }


def _milliseconds(call: Call, number: int, clock: Callable[[], float]) -> float:
    start = clock()
    call(number)
    return (clock() - start) * 1e3
