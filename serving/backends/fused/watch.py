"""What is seen of the steps inside `fused`, which tritonserver knows as one model: counts, times and spans."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, Protocol

from serving.spans import Context, Span, SpanSender, new_id
from serving.steps.step import Answer, Refusal

Told = Callable[[Sequence[Answer]], None]
"""What takes a step's answers."""


class Watch(Protocol):
    """Who is told of the steps of a chain."""

    def expect(self, step: str) -> None:
        """There is such a step."""
        ...

    def step(self, name: str, places: Sequence[int]) -> AbstractContextManager[Told]:
        """A step runs inside: for the requests at these places of the chain's batch, or of that of the step around
        it."""
        ...


class _Unwatched:
    """Tells nobody."""

    def expect(self, step: str) -> None:
        pass

    def step(self, name: str, places: Sequence[int]) -> AbstractContextManager[Told]:
        return nullcontext(_nobody)


def _nobody(answers: Sequence[Answer]) -> None:
    pass


UNWATCHED = _Unwatched()


class Counts(NamedTuple):
    """Of one step of one model."""

    runs: Callable[[float], None]
    requests: Callable[[float], None]
    refusals: Callable[[float], None]
    seconds: Callable[[float], None]


class StepWatch:
    """Counts each step, and makes a span of it for each request of its batch that is traced."""

    def __init__(self, counts: Callable[[str], Counts], sender: SpanSender | None = None) -> None:
        """`counts` makes those of a step; without a `sender` there are no spans."""
        self._make, self._sender = counts, sender
        self._counts: dict[str, Counts] = {}
        self._contexts: Sequence[Context | None] = ()

    def expect(self, step: str) -> None:
        """Its series are there from the start, at zero."""
        if step not in self._counts:
            self._counts[step] = self._make(step)

    def batch(self, contexts: Sequence[Context | None]) -> None:
        """The next batch's traces, by place; None for a request that is not traced."""
        self._contexts = contexts

    @contextmanager
    def step(self, name: str, places: Sequence[int]) -> Iterator[Told]:
        """As `Watch`."""
        around = self._contexts
        parents = [around[place] for place in places] if any(around) else [None] * len(places)
        # What a step runs inside is a child of it.
        self._contexts = [None if one is None else Context(one.trace_id, new_id(8)) for one in parents]
        answers: list[Answer] = []
        began_ns, began = time.time_ns(), time.perf_counter_ns()
        try:
            yield answers.extend
        finally:
            took_ns, own, self._contexts = time.perf_counter_ns() - began, self._contexts, around
            refused = [one for one in answers if isinstance(one, Refusal)]
            counts = self._counts[name]
            counts.runs(1)
            counts.requests(len(places))
            counts.refusals(len(refused))
            counts.seconds(took_ns / 1e9)
            if self._sender is not None and any(own):
                answers += [Refusal("the step failed", "INTERNAL")] * (len(places) - len(answers))
                for parent, context, answer in zip(parents, own, answers, strict=True):
                    if parent is not None and context is not None:
                        error = answer.reason if isinstance(answer, Refusal) else None
                        times = began_ns, began_ns + took_ns
                        self._sender.send(Span(context, parent.span_id, name, *times, len(places), error))
