"""A source of events, followed: what it has is pushed, and confirmed when the server has it."""

import time
from collections.abc import Callable
from typing import NamedTuple

from serving.events.pushing import Pusher
from serving.events.source import EventSource, Message, SourceError
from serving.histories.histories import NO_DATASET

_AT_ONCE = 500
_PAUSE_S = 0.5


class _NoDatasetError(RuntimeError):
    """The store of the server does not know the data set; says what to do."""


class Followed(NamedTuple):
    """What one round did."""

    pushed: int
    refused: int
    waits: str = ""
    """What it waits for; "" where it does not."""


class Following:
    """Moves events from a source to a server."""

    def __init__(self, source: EventSource, pusher: Pusher, report: Callable[[str], None]) -> None:
        """`report` is told of what is refused, and of a source that is away."""
        self._source = source
        self._pusher = pusher
        self._report = report
        self._away = ""

    def step(self) -> Followed:
        """One round: reads, pushes, confirms. Where the source is away, or the store does not know the data set, the
        next one tries again; raises ServingError where the server stays away, and nothing is confirmed then."""
        try:
            messages = self._source.read(_AT_ONCE)
            found = self._moved(messages)
        except (SourceError, _NoDatasetError) as error:
            if str(error) != self._away:
                self._away = str(error)
                self._report(f"waiting: {error}")
            time.sleep(_PAUSE_S)
            return Followed(0, 0, str(error))
        self._away = ""
        return found

    def _moved(self, messages: list[Message]) -> Followed:
        faults = [(one.token, one.fault) for one in messages if one.row is None]
        events = [(one.token, one.row) for one in messages if one.row is not None]
        told = self._pusher.push([row for _, row in events]) if events else []
        if told and told[0].startswith(f"refused: {NO_DATASET}"):
            # That is no fault of the events: they stay with the source until a store that was wiped is loaded again.
            raise _NoDatasetError(told[0].removeprefix("refused: "))
        taken = [token for (token, _), one in zip(events, told, strict=True) if not one.startswith("refused")]
        faults += [(token, one) for (token, _), one in zip(events, told, strict=True) if one.startswith("refused")]
        self._source.confirm(taken)
        if faults:
            self._source.refuse(faults)
            self._report(f"{len(faults)} refused, the first: {faults[0][1]}")
        return Followed(len(taken), len(faults))
