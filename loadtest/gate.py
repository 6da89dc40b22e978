"""Whether a result of the load test is as good as an earlier one: ratios to the floor of the same run, never times.

A ratio is named after its run: "closed-8.over_floor.p50" is the median latency with 8 users in closed loop over that of
the floor, "closed-8.cpu_over_floor" the CPU time of one request over the floor's median, and "capacity_x_floor" the
highest rate that keeps the p99 budget, in requests per median of the floor, where the rates were searched for. Where
they were named, the medians and CPU times of their open loops are compared as those of closed ones are
("open-200.over_floor.p50"), and "highest_rate" is the highest of them that keeps the p99 budget: what a service
promises, so it is no ratio. Of runs with as many users, the median counts. Wrong answers and failed requests of closed
loops have no tolerance. A failed request of an open loop fails the rate instead, and so tells on the capacity: the
search for it sends more than the server can answer.
"""

import math
import re
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

Result = dict[str, Any]
"""What `recserve bench` writes, as read from its JSON."""

CAPACITY = "capacity_x_floor"
HIGHEST = "highest_rate"
_MORE_IS_BETTER = (CAPACITY, HIGHEST)
WRONG = "wrong"
FAILED = "failed"
_ROUNDING = 1e-9
"""A change by just the tolerance passes, whichever way the division rounds."""


class Row(NamedTuple):
    """One ratio, or a number of requests that must be 0."""

    name: str
    baseline: float
    measured: float | None
    """None where the result lacks what the baseline has."""
    change: float | None
    """measured / baseline - 1; None where there is nothing to divide."""
    ok: bool

    @property
    def verdict(self) -> str:
        """What a person reads behind the figures."""
        if self.ok:
            return "ok"
        if self.name in (WRONG, FAILED):
            return "MUST BE 0"
        if self.change is not None:
            return "WORSE"
        return "NO RATE WITHIN BUDGET" if self.name == HIGHEST else "NOT MEASURED"


def ratios(result: Result) -> dict[str, float]:
    """Name -> ratio, for all that the result could measure."""
    found: dict[str, list[float]] = {}
    for name, value in _measured(result):
        if value is not None and math.isfinite(value) and value > 0:
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def compare(baseline: Result, result: Result, tolerance: float) -> list[Row]:
    """One row for each ratio of the baseline; then wrong answers and failed requests, of which there must be none.

    Raises:
        ValueError: the two cannot be compared, or the baseline holds no ratio.
    """
    require_comparable(baseline, result)
    expected, measured = ratios(baseline), ratios(result)
    if not expected:
        raise ValueError("the baseline holds no ratio to compare: it has no closed-loop run with answers and no sweep")
    rows = [_row(name, value, measured.get(name), tolerance) for name, value in expected.items()]
    counts = ((WRONG, num_wrong), (FAILED, num_failed))
    return rows + [Row(name, of(baseline), of(result), None, of(result) == 0) for name, of in counts]


def require_comparable(baseline: Result, result: Result) -> None:
    """Checks what can be known before a load runs as well as after.

    Raises:
        ValueError: the scenarios differ, or the p99 budgets of the open loops, or how their rates were chosen.
    """
    if baseline["scenario"] != result["scenario"]:
        raise ValueError(
            f"a result of scenario '{result['scenario']}' cannot be compared with one of '{baseline['scenario']}'"
        )
    old, new = (one.get("sweep") for one in (baseline, result))
    if not old or not new:
        return
    if old["p99_budget_ms"] != new["p99_budget_ms"]:
        budgets = f"{new['p99_budget_ms']:g} ms cannot be compared with one of {old['p99_budget_ms']:g} ms"
        raise ValueError(f"a sweep with a p99 budget of {budgets}")
    if _searched(old) != _searched(new):
        had, has = ("searched for its rates" if _searched(one) else "named them with --rates" for one in (old, new))
        raise ValueError(f"the baseline {had}, and this run {has}: run both alike")


def num_wrong(result: Result) -> int:
    """Wrong answers of all runs."""
    return sum(run["wrong"] for run in result["runs"])


def num_failed(result: Result) -> int:
    """Requests without an answer, of all closed loops."""
    return sum(sum(run["errors"].values()) for run in result["runs"] if run["mode"] == "closed")


def is_better(name: str, change: float) -> bool:
    """Whether a ratio that changed did so for the better: less latency, less CPU time, more capacity."""
    return change > 0 if name in _MORE_IS_BETTER else change < 0


def parse_tolerance(text: str) -> float:
    """ "10%" -> 0.1

    Raises:
        ValueError: it is no percentage; "0.1" and "10" are none, as nobody could tell what they mean.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%", text.strip())
    if match is None:
        raise ValueError(f"the tolerance must be a percentage such as 10% or 2.5%, not '{text}'")
    return float(match[1]) / 100


def _searched(sweep: dict[str, Any]) -> bool:
    return sweep.get("searched", True)


def _measured(result: Result) -> Iterator[tuple[str, float | None]]:
    floor_ms, sweep = result["floor"]["p50_ms"], result.get("sweep") or {}
    searched = _searched(sweep)
    for run in result["runs"]:
        if run["mode"] == "closed" or not searched:
            name = f"closed-{run['users']}" if run["mode"] == "closed" else f"open-{run['offered']:g}"
            yield f"{name}.over_floor.p50", run["over_floor"]["p50"]
            if run["mode"] == "closed":  # an open loop's p99 has the budget
                yield f"{name}.over_floor.p99", run["over_floor"]["p99"]
            cpu_ms = run["cpu_seconds_per_1000"]  # seconds per 1,000 requests are milliseconds per request
            yield f"{name}.cpu_over_floor", None if cpu_ms is None else cpu_ms / floor_ms
    rate = sweep.get("highest_rate")
    if searched:
        yield CAPACITY, None if rate is None else rate * floor_ms / 1000
    else:
        yield HIGHEST, rate


def _row(name: str, baseline: float, measured: float | None, tolerance: float) -> Row:
    if measured is None:
        return Row(name, baseline, None, None, False)
    change = measured / baseline - 1
    return Row(name, baseline, measured, change, is_better(name, change) or abs(change) <= tolerance + _ROUNDING)
