"""Brings stored states up to date by the events that came since, one after the other, in place of computing them anew.

A state proves by its digest which events it knows. Where these are the history without its newest ones, the observer
adds each of them to the state, and reads no more of the history than it needs; where they are not (an event came late,
or an old one fell out), the state is computed anew. An event that arrives twice changes no history, and so no state.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from serving.histories.reading import AGES, NAMES
from serving.state.source import Encode, Question, State, StateSource
from serving.state.states import Lookup, States

BEFORE = "before_"
"""What the observer's inputs that are the state without the event are called, before the names of its tensors."""
MOST = 8
"""Events that are added; with more, the encoder is quicker."""
_HISTORY = (*NAMES, AGES)

Who = TypeVar("Who")


class Observing:
    """Of one version of a model whose states take one event."""

    def __init__(self, source: StateSource, store: States, observe: Encode, count: Callable[[float], None]) -> None:
        """`count` hears how many events were added."""
        self._source, self._store, self._observe, self._count = source, store, observe, count

    def states(self, questions: Mapping[Who, Question]) -> dict[Who, State]:
        """Of those whose stored state is of the history without its newest events. Raises EncoderError where the
        observer's answers are no states."""
        histories = {who: self._histories(question) for who, question in questions.items()}
        lookups = {who: [one.lookup for one in steps[1:]] for who, steps in histories.items()}
        found = self._stored([lookup for some in lookups.values() for lookup in some])
        states: dict[Who, State] = {}
        for who, steps in histories.items():
            known = next((back for back, one in enumerate(lookups[who], 1) if one in found), None)
            if known is not None:
                states[who] = self._added(found[lookups[who][known - 1]], steps[:known][::-1])
        return states

    def _histories(self, question: Question) -> list[Question]:
        """The question, and those about the history without its newest event, its two newest, and so on."""
        history, earlier = question.history, question.earlier
        if history is None or earlier is None:
            return [question]
        number = history.events.number
        if number > self._source.histories.longest:
            return [question]
        return [question, *(earlier(history.without(back)) for back in range(1, min(MOST + 1, number)))]

    def _stored(self, lookups: list[Lookup]) -> dict[Lookup, State]:
        reads = (self._store.get_many(lookups) if lookups else None) or []
        return {one: read.arrays for one, read in zip(lookups, reads, strict=False) if read.arrays is not None}

    def _added(self, state: State, steps: list[Question]) -> State:
        """The state after the newest event of each step, in order."""
        for step in steps:
            assert step.history is not None
            tail = {
                name: array
                for name, array in step.history.arrays(self._source.spec.tail).items()
                if name in self._reads
            }
            before = {f"{BEFORE}{name}": array[np.newaxis] for name, array in state.items()}
            (state,) = self._source.states(self._observe({**tail, **before}), 1)
        self._count(len(steps))
        return state

    @property
    def _reads(self) -> set[str]:
        return {*self._source.spec.inputs} & {*_HISTORY}
