"""Which requests are traced, and what their spans say; served in tests/production/test_traces.py."""

import json

import pytest

from serving.spans import SERVER, Context, Span
from serving.tracer import Tracer
from serving.traces import Traces

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Sent:
    """In place of what sends spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def send(self, span: Span) -> None:
        self.spans.append(span)


def tracer(rate: int) -> Tracer:
    return Tracer("scorer", Sent(), rate)  # pyright: ignore[reportArgumentType]


def said(traceparent: object) -> str:
    return json.dumps({"traceparent": traceparent})


@pytest.mark.parametrize(("rate", "expected"), [(0, 0), (1, 12), (5, 3), (1000, 1)])
def test_one_request_of_the_rate_begins_a_trace(rate: int, expected: int) -> None:
    traced = [one for one in tracer(rate).begin(["{}"] * 12).traced if one]
    assert len(traced) == expected
    assert {one.parent for one in traced} <= {None}
    assert len({one.context.trace_id for one in traced}) == expected


@pytest.mark.parametrize("rate", [0, 1])
def test_who_says_so_is_traced_whatever_the_rate_and_who_says_no_is_not(rate: int) -> None:
    yes, no, wrong, other = (said(f"00-{TRACE}-{CALLER}-01"), said(f"00-{TRACE}-{CALLER}-00"), said("x"), said(7))
    (one, *others) = tracer(rate).begin([yes, no, wrong]).traced
    assert one is not None
    assert (one.context.trace_id, one.parent) == (TRACE, CALLER)
    assert one.context.span_id != CALLER
    assert others == [None, None]
    assert (tracer(rate).begin([other]).traced[0] is None) == (rate == 0)


def test_a_span_has_its_time_its_batch_and_its_error() -> None:
    one = tracer(0)
    batch = one.begin([said(f"00-{TRACE}-{CALLER}-01"), "{}", said(f"00-{TRACE}-{CALLER}-01")])
    assert [context and context.trace_id for context in batch.contexts] == [TRACE, None, TRACE]
    one.end(batch, [None, "not traced", "input is wrong"])
    spans = one.sender.spans  # pyright: ignore[reportAttributeAccessIssue]
    assert [(span.name, span.parent, span.batch, span.error, span.kind) for span in spans] == [
        ("scorer", CALLER, 3, None, SERVER),
        ("scorer", CALLER, 3, "input is wrong", SERVER),
    ]
    assert all(0 < span.began_ns <= span.ended_ns for span in spans)


def test_tritonserver_itself_traces_nothing() -> None:
    """Its own tracing ends it now and then."""
    assert Traces(url="http://127.0.0.1:4318/v1/traces", rate=1).flags == ["--grpc-header-forward-pattern=traceparent"]
    assert Context.of(f"00-{TRACE}-{CALLER}-03") == Context(TRACE, CALLER)
