"""What the gate of the load test lets through, and what not."""

import math
from typing import Any

import pytest

from loadtest.gate import CAPACITY, FAILED, HIGHEST, WRONG, Row, compare, parse_tolerance, ratios, require_comparable
from tests.loadtest.results_for_tests import synthetic

CLOSED_8 = 1
"""Index of the run with 8 users."""


def row(rows: list[Row], name: str) -> Row:
    return next(one for one in rows if one.name == name)


def test_ratios_follow_from_the_floor_of_the_same_run() -> None:
    result = synthetic(closed=(8,), offered=())
    result["floor"]["p50_ms"] = 2.0
    result["runs"][0] |= {"over_floor": {"p50": 3.0, "p99": 5.0}, "cpu_seconds_per_1000": 5.0}
    result["sweep"]["highest_rate"] = 600.0
    assert ratios(result) == {
        "closed-8.over_floor.p50": 3.0,
        "closed-8.over_floor.p99": 5.0,
        "closed-8.cpu_over_floor": 2.5,
        CAPACITY: 1.2,
    }


def test_each_closed_run_and_the_sweep_are_compared_and_open_runs_are_not() -> None:
    per_run = ("over_floor.p50", "over_floor.p99", "cpu_over_floor")
    assert list(ratios(synthetic())) == [f"closed-{users}.{name}" for users in (1, 8, 32) for name in per_run] + [
        CAPACITY
    ]


def named(rate: float | None = 200.0, floor_ms: float = 1.0) -> dict[str, Any]:
    """A result of the rate 200, which was named and not searched for."""
    result = synthetic(closed=(), offered=(200.0,))
    result["floor"]["p50_ms"] = floor_ms
    return result | {"sweep": {"p99_budget_ms": 20.0, "searched": False, "highest_rate": rate}}


def test_rates_that_were_named_are_compared_each_and_by_the_highest_within_budget() -> None:
    per_run = [f"open-200.{name}" for name in ("over_floor.p50", "cpu_over_floor")]
    assert list(ratios(named())) == [*per_run, HIGHEST]
    faster = named(floor_ms=0.2)
    for run in faster["runs"]:
        run["cpu_seconds_per_1000"] /= 5
    assert all(one.ok for one in compare(named(), faster, 0.0)), "a faster machine is no fall of what was named"
    assert not row(compare(named(400.0), named(200.0), 0.1), HIGHEST).ok
    missed = row(compare(named(), named(None), 10.0), HIGHEST)
    assert (missed.ok, missed.verdict) == (False, "NO RATE WITHIN BUDGET")
    slower = named()
    slower["runs"][0]["over_floor"]["p50"] *= 2
    assert not row(compare(named(), slower, 0.5), "open-200.over_floor.p50").ok


def test_rates_that_were_named_do_not_compare_with_those_that_were_searched_for() -> None:
    with pytest.raises(ValueError, match="baseline searched for its rates, and this run named them with --rates"):
        require_comparable(synthetic(), named() | {"sweep": {**named()["sweep"], "p99_budget_ms": 20.0}})


def test_the_median_counts_where_a_run_is_repeated() -> None:
    result = synthetic(closed=(8, 8, 8), offered=())
    for run, value in zip(result["runs"], (2.0, 9.0, 3.0), strict=True):
        run["over_floor"]["p50"] = value
    assert ratios(result)["closed-8.over_floor.p50"] == 3.0


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 0.0])
def test_what_was_not_measured_is_no_ratio(value: float | None) -> None:
    result = synthetic()
    result["runs"][CLOSED_8]["over_floor"]["p99"] = value
    result["sweep"]["highest_rate"] = value
    assert "closed-8.over_floor.p99" not in ratios(result)
    assert CAPACITY not in ratios(result)


@pytest.mark.parametrize("sweep", [None, {"p99_budget_ms": 20.0, "highest_rate": None}])
def test_a_sweep_without_a_rate_has_no_capacity(sweep: dict[str, Any] | None) -> None:
    assert CAPACITY not in ratios(synthetic() | {"sweep": sweep})


def test_a_result_passes_against_itself() -> None:
    rows = compare(synthetic(), synthetic(), 0.0)
    assert all(one.ok for one in rows)
    assert [one.change for one in rows] == [0.0] * 10 + [None, None]
    assert {one.verdict for one in rows} == {"ok"}


@pytest.mark.parametrize(("factor", "ok"), [(0.5, True), (1.1, True), (1.11, False)])
def test_latency_may_rise_by_the_tolerance(factor: float, ok: bool) -> None:
    result = synthetic()
    result["runs"][CLOSED_8]["over_floor"]["p99"] *= factor
    found = row(compare(synthetic(), result, 0.1), "closed-8.over_floor.p99")
    assert found.ok == ok
    assert found.change == pytest.approx(factor - 1)


@pytest.mark.parametrize(("factor", "ok"), [(2.0, True), (0.9, True), (0.89, False)])
def test_capacity_may_fall_by_the_tolerance(factor: float, ok: bool) -> None:
    result = synthetic()
    result["sweep"]["highest_rate"] *= factor
    found = row(compare(synthetic(), result, 0.1), CAPACITY)
    assert found.ok == ok
    assert found.change == pytest.approx(factor - 1)


def test_a_machine_twice_as_slow_changes_nothing() -> None:
    result = synthetic()
    result["floor"]["p50_ms"] *= 2
    for run in result["runs"]:
        run["cpu_seconds_per_1000"] *= 2
    result["sweep"]["highest_rate"] /= 2
    assert all(one.ok for one in compare(synthetic(), result, 0.0))


def test_a_ratio_that_the_result_lacks_fails() -> None:
    result = synthetic(closed=(1, 32))
    result["sweep"]["highest_rate"] = None
    failed = [one for one in compare(synthetic(), result, 10.0) if not one.ok]
    assert {one.name.split(".")[0] for one in failed} == {"closed-8", CAPACITY}
    assert all(one.measured is None and one.change is None for one in failed)
    assert {one.verdict for one in failed} == {"NOT MEASURED"}


def test_a_ratio_that_only_the_result_has_is_not_compared() -> None:
    names = [one.name for one in compare(synthetic(closed=(1,)), synthetic(), 0.1)]
    assert not [name for name in names if name.startswith("closed-8")]


def test_one_wrong_answer_fails_whatever_the_tolerance() -> None:
    rows = compare(synthetic(wrong=5), synthetic(wrong=1), 10.0)
    assert [one for one in rows if not one.ok] == [Row(WRONG, 5, 1, None, False)]


def test_one_failed_request_of_a_closed_loop_fails_whatever_the_baseline_and_the_tolerance() -> None:
    baseline, result = synthetic(), synthetic()
    baseline["runs"][0]["errors"] = {"QueueFull": 9}
    result["runs"][CLOSED_8]["errors"] = {"QueueFull": 2, "DeadlineExceeded": 1}
    (failed,) = [one for one in compare(baseline, result, 10.0) if not one.ok]
    assert failed == Row(FAILED, 9, 3, None, False)
    assert failed.verdict == "MUST BE 0"


def test_a_failed_request_of_an_overload_does_not_fail() -> None:
    result = synthetic(offered=(100.0, 800.0))
    assert result["runs"][-1]["errors"], "the made-up server refuses requests at this rate"
    assert row(compare(result, result, 0.0), FAILED) == Row(FAILED, 0, 0, None, True)


def test_results_of_different_scenarios_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'other'.*'lrea'"):
        compare(synthetic(), synthetic() | {"scenario": "other"}, 0.1)


def test_sweeps_with_different_budgets_are_refused() -> None:
    result = synthetic()
    result["sweep"]["p99_budget_ms"] = 50.0
    with pytest.raises(ValueError, match=r"50 ms.*20 ms"):
        require_comparable(synthetic(), result)
    require_comparable(synthetic(), result | {"sweep": None})


def test_a_baseline_without_any_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match="no ratio"):
        compare(synthetic(closed=(), offered=()), synthetic(), 0.1)


@pytest.mark.parametrize(("text", "value"), [("10%", 0.1), (" 2.5 % ", 0.025), ("0%", 0.0), ("150%", 1.5)])
def test_a_tolerance_is_a_percentage(text: str, value: float) -> None:
    assert parse_tolerance(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "10", "0.1", "-5%", "ten%", "1e1%", "10%%", "nan%", "1,5%"])
def test_anything_else_is_refused_with_the_value(text: str) -> None:
    with pytest.raises(ValueError, match="such as 10%") as refused:
        parse_tolerance(text)
    assert f"'{text}'" in str(refused.value)
