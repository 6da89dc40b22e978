"""What a backend's process says of the requests that are traced: a span of the model for each, around those of its
steps."""

import json
import os
import time
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple, Self

from serving.spans import OUTCOMES, SERVER, Context, Span, SpanSender, new_id
from serving.traces import HEADER, RATE, URL
from serving.watch.families import SPANS
from serving.watch.prometheus import Prometheus


class Traced(NamedTuple):
    """A request that is traced."""

    context: Context
    """Of the model's own span."""
    parent: str | None


class Batch(NamedTuple):
    """A dynamic batch under way."""

    began_ns: int
    ticks_ns: int
    """By a clock that is never set."""
    traced: Sequence[Traced | None]
    """By place; None for a request that is not traced."""

    @property
    def contexts(self) -> list[Context | None]:
        """Under which the steps' spans belong."""
        return [one and one.context for one in self.traced]


class Tracer:
    """Of one model in one process."""

    def __init__(self, model: str, sender: SpanSender, rate: int) -> None:
        """Traces one request of `rate` (none for 0), and each that says so itself."""
        self._model, self.sender, self._rate = model, sender, rate
        self._asked = count()

    @classmethod
    def of_environment(cls, model: str, prometheus: Prometheus) -> Self | None:
        """None where nothing is traced."""
        if (url := os.environ.get(URL)) is None:
            return None
        counts = {outcome: prometheus.counter(SPANS, model, outcome) for outcome in OUTCOMES}
        sender = SpanSender(url, lambda outcome, number: counts[outcome](number))
        return cls(model, sender, int(os.environ.get(RATE, "0")))

    def begin(self, parameters: Sequence[str]) -> Batch:
        """A batch of requests with these parameters, each a JSON object, is about to be answered."""
        traced = [self._traced(said) for said in parameters]
        return Batch(time.time_ns(), time.perf_counter_ns(), traced)

    def end(self, batch: Batch, errors: Sequence[str | None]) -> None:
        """It was answered; `errors` by place, None for a request that was answered well."""
        ended_ns = batch.began_ns + time.perf_counter_ns() - batch.ticks_ns
        for one, error in zip(batch.traced, errors, strict=True):
            if one is not None:
                times = batch.began_ns, ended_ns
                self.sender.send(
                    Span(one.context, one.parent, self._model, *times, len(batch.traced), error, kind=SERVER)
                )

    def close(self) -> None:
        """Sends what waits."""
        self.sender.close()

    def _traced(self, parameters: str) -> Traced | None:
        said = json.loads(parameters).get(HEADER) if HEADER in parameters else None
        if isinstance(said, str):
            caller = Context.of(said)
            return caller and Traced(Context(caller.trace_id, new_id(8)), caller.span_id)
        if self._rate and next(self._asked) % self._rate == 0:
            return Traced(Context(new_id(16), new_id(8)), None)
        return None


def errors_of(responses: Sequence[Any]) -> list[str | None]:
    """What the Python backend's responses say that went wrong, by place."""
    return [one.error().message() if one.has_error() else None for one in responses]
