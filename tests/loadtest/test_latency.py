"""Who is called how often, and what is counted."""

import pytest

from loadtest.latency import measure


def test_all_calls_take_turns_and_the_warm_up_is_not_counted() -> None:
    called: list[str] = []
    measured = measure({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, repetitions=3, warm_up=2)
    assert called == ["a", "b"] * 5
    assert measured.keys() == {"a", "b"}


def test_percentiles_are_in_milliseconds_and_ascend() -> None:
    ticks = iter([0.0, 9.0, *(value for n in range(100) for value in (n, n + 0.001 * (n + 1)))])
    percentiles = measure({"call": lambda: None}, 100, warm_up=1, clock=lambda: next(ticks))["call"]
    assert [round(value, 2) for value in percentiles] == [50.5, 95.05, 99.01]


def test_an_error_of_a_call_is_not_swallowed() -> None:
    def fail() -> None:
        raise RuntimeError("down")

    with pytest.raises(RuntimeError, match="down"):
        measure({"call": fail}, 1)
