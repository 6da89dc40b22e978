"""What is told of the steps inside `fused`: to whom a span belongs, of steps within steps too, and what is counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from serving.backends.fused.chain import Chain, Link
from serving.backends.fused.watch import Counts, StepWatch
from serving.spans import Context, Span, SpanSender, as_otlp
from serving.steps.step import Answer, Refusal, Tensors

HEX = "0af7651916cd43dd8448eb211c80319c"


class Same:
    """The input, and a refusal of what is above 9; fails as a whole on 0."""

    def answer(self, requests: Sequence[Tensors]) -> list[Answer]:
        if any(one["x"].item() == 0 for one in requests):
            raise RuntimeError("nothing is 0")
        return [Refusal("too large", "INVALID_ARG") if one["x"].item() > 9 else one for one in requests]

    def close(self) -> None:
        pass


class Kept:
    """A sender that keeps what it is to send."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def send(self, span: Span) -> None:
        self.spans.append(span)


@pytest.fixture
def watched() -> tuple[Chain, StepWatch, Kept, Counter[str]]:
    """Steps outer and last, with a step inner inside of outer."""
    kept, counted = Kept(), Counter[str]()

    def counts(step: str) -> Counts:
        def of(what: str) -> Callable[[float], None]:
            def add(number: float) -> None:
                counted[f"{step} {what}"] += number  # pyright: ignore[reportArgumentType]

            return add

        return Counts(*map(of, Counts._fields))

    watch = StepWatch(counts, cast(SpanSender, kept))
    same = {"x": "x"}
    for name in ("outer", "inner", "last"):
        watch.expect(name)
    within = Chain([Link(Same(), same, same, "inner")], ["x"], ["x"], watch)
    chain = Chain([Link(within, same, same, "outer"), Link(Same(), same, same, "last")], ["x"], ["x"], watch)
    return chain, watch, kept, counted


def requests(*values: int) -> list[Tensors]:
    return [{"x": np.array([[value]])} for value in values]


def test_each_traced_request_gets_a_span_of_each_step_that_it_reached(watched: Any) -> None:
    chain, watch, kept, counted = watched
    watch.batch([Context("a", "1"), None, Context("b", "2")])
    chain.answer(requests(10, 1, 2))
    by_trace = {trace: {one.name: one for one in kept.spans if one.context.trace_id == trace} for trace in "ab"}
    assert set(by_trace["a"]) == {"outer", "inner"}, "refused, it goes no further"
    assert set(by_trace["b"]) == {"outer", "inner", "last"}
    assert by_trace["a"]["inner"].error == "too large"
    for trace, caller in (("a", "1"), ("b", "2")):
        spans = by_trace[trace]
        assert (spans["outer"].parent, spans["inner"].parent) == (caller, spans["outer"].context.span_id)
    assert by_trace["b"]["last"].parent == "2"
    assert (by_trace["b"]["outer"].batch, by_trace["b"]["last"].batch) == (3, 2)
    assert {name: number for name, number in counted.items() if not name.endswith("seconds")} == {
        **{f"{step} runs": 1 for step in ("inner", "outer", "last")},
        **{"inner requests": 3, "outer requests": 3, "last requests": 2},
        **{"inner refusals": 1, "outer refusals": 1, "last refusals": 0},
    }
    assert all(counted[f"{step} seconds"] > 0 for step in ("inner", "outer", "last"))


def test_a_step_that_fails_says_so_and_the_next_batch_belongs_to_its_own_traces(watched: Any) -> None:
    chain, watch, kept, _ = watched
    watch.batch([Context("a", "1")])
    with pytest.raises(RuntimeError):
        chain.answer(requests(0))
    assert {(span.name, span.error) for span in kept.spans} == {
        ("inner", "the step failed"),
        ("outer", "the step failed"),
    }
    kept.spans.clear()
    watch.batch([None])
    chain.answer(requests(1))
    assert kept.spans == []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{HEX}-b7ad6b7169203331-01", (HEX, "b7ad6b7169203331")),
        (f"00-{HEX}-b7ad6b7169203331-00", None),
        (f"00-{HEX[1:]}-b7ad6b7169203331-01", None),
        ("", None),
    ],
)
def test_a_header_is_read_as_w3c_writes_it(header: str, expected: tuple[str, str] | None) -> None:
    assert Context.of(header) == expected


def test_a_span_is_written_as_otlp_has_it() -> None:
    span = Span(Context(HEX, "00f067aa0ba902b7"), "b7ad6b7169203331", "scorer", 10, 15, 3, "too large")
    (resource,) = as_otlp([span])["resourceSpans"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "recserve"}}]
    (written,) = resource["scopeSpans"][0]["spans"]
    assert written["traceId"] == HEX
    assert (written["parentSpanId"], written["spanId"]) == ("b7ad6b7169203331", "00f067aa0ba902b7")
    assert (written["startTimeUnixNano"], written["endTimeUnixNano"]) == ("10", "15")
    assert written["status"] == {"code": 2, "message": "too large"}
