"""Spans, sent to an OpenTelemetry collector as OTLP over HTTP in JSON.

They are sent from a thread, out of a queue that has an end: where the collector is slow or away, spans are dropped and
counted, and no request waits or fails.
"""

import json
import os
import queue
import re
import threading
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from serving.traces import SERVICE

MOST = 2048
"""Spans that wait at most."""
PERIOD_S = 0.5
"""How long a span may wait for others."""
OUTCOMES = ("sent", "failed", "dropped")
_BATCH = 512
_TIMEOUT_S = 2.0
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
INTERNAL, SERVER = 1, 2
"""Kinds of a span in OTLP."""
_FAILED = 2
"""Status code of OTLP."""


class Context(NamedTuple):
    """Where a span belongs."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""

    @classmethod
    def of(cls, traceparent: str) -> Self | None:
        """From the W3C header; None where it is none, or not to be traced."""
        found = _TRACEPARENT.fullmatch(traceparent)
        return cls(found[1], found[2]) if found and int(found[3], 16) & 1 else None


class Span(NamedTuple):
    """What a model, or one step inside it, did for one request."""

    context: Context
    parent: str | None
    """Span id; None for the first of a trace."""
    name: str
    began_ns: int
    """Since 1970."""
    ended_ns: int
    batch: int
    """Requests that were answered together."""
    error: str | None = None
    kind: int = INTERNAL


def new_id(num_bytes: int) -> str:
    """Random, in hexadecimal digits."""
    return os.urandom(num_bytes).hex()


class SpanSender:
    """Sends in the background until it is closed."""

    def __init__(self, url: str, count: Callable[[str, int], None]) -> None:
        """`count` is told what became of spans: (one of OUTCOMES, how many)."""
        self._url, self._count = url, count
        self._waiting: queue.Queue[Span] = queue.Queue(MOST)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def send(self, span: Span) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            self._count("dropped", 1)

    def close(self) -> None:
        """Sends what waits, for `_TIMEOUT_S` at most."""
        self._closed.set()
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closed.wait(PERIOD_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while spans := self._taken():
            try:
                self._post(json.dumps(as_otlp(spans)).encode())
            except OSError:  # also what urllib raises for a status that is no success
                self._count("failed", len(spans))
                return
            self._count("sent", len(spans))

    def _taken(self) -> list[Span]:
        found: list[Span] = []
        while len(found) < _BATCH and not self._waiting.empty():
            found.append(self._waiting.get_nowait())
        return found

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 - http alone, see Traces
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
            pass


def as_otlp(spans: Sequence[Span]) -> dict[str, Any]:
    """The body of a request: ExportTraceServiceRequest of OTLP in its JSON form."""
    scope = {"scope": {"name": "recserve"}, "spans": [_as_otlp(span) for span in spans]}
    return {"resourceSpans": [{"resource": {"attributes": [_said("service.name", SERVICE)]}, "scopeSpans": [scope]}]}


def _as_otlp(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.context.trace_id,
        "spanId": span.context.span_id,
        "parentSpanId": span.parent or "",
        "name": span.name,
        "kind": span.kind,
        # 64 bits, which JSON carries as text.
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": [{"key": "recserve.batch", "value": {"intValue": str(span.batch)}}],
        "status": {} if span.error is None else {"code": _FAILED, "message": span.error},
    }


def _said(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}
