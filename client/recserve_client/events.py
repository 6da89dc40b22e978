"""What users did, as the served model `user_events` takes it, and what it says became of each event."""

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex

import numpy as np

from recserve_client import ids
from recserve_client.core import Answer, Ask, Core, Steps
from recserve_client.errors import InvalidRequest, ServerFailure

MODEL = "user_events"
OUTCOME = "outcome"
APPLIED, DUPLICATE, DROPPED, REFUSED = "applied", "duplicate", "dropped", "refused: "
_LEAST, _MOST = -(2**63), 2**63 - 1


class Event(NamedTuple):
    """One thing that a user did with an item."""

    item: SupportsIndex | str
    """An id, a whole number or text."""
    value: SupportsFloat = 1.0
    """As the data set has it: stars, or 1 for a click."""
    time: SupportsIndex | None = None
    """As the data set counts it."""
    order: SupportsIndex | None = None
    """Among events of one time, or in place of the time; 0 where None."""
    event_id: str | None = None
    """Two events of a user with one id are one. Made of item, time, order and value where None."""


class Refused(NamedTuple):
    """An event that was not taken."""

    place: int
    """In the call, from 0 on."""
    event: Event
    reason: str


class Observed(NamedTuple):
    """What became of the events of one call."""

    applied: int
    duplicates: int
    """Known by their ids already, so that nothing changed."""
    dropped: int
    """Older than what is kept of the user."""
    refused: tuple[Refused, ...]
    request_id: str


def observe(core: Core, ask: Ask, user: Any, events: Sequence[Event], dataset: str) -> Steps[Observed]:
    """Sends events, and says what became of each."""
    answer = yield from core.infer(MODEL, "", _inputs(user, events, dataset), ask)
    return _observed(events, answer, ask.request_id)


def _inputs(user: Any, events: Sequence[Event], dataset: str) -> dict[str, np.ndarray]:
    """Arrays [1, N] of `user_events`, one element an event. Raises InvalidRequest, naming event and field."""
    if not isinstance(dataset, str) or not dataset:
        raise InvalidRequest(f"dataset is {dataset!r}; name the data set of the user and the items")
    if not isinstance(events, Sequence) or not all(isinstance(one, Event) for one in events) or not events:
        raise InvalidRequest("events is no list of Event, or empty; send [Event(item, time=...), ...]")
    who = ids.as_text("user", user)
    items = [ids.as_text(f"event {place}: item", one.item) for place, one in enumerate(events)]
    rows = [_checked(place, one) for place, one in enumerate(events)]
    return {
        "dataset": _text([dataset]),
        "user_id": _text([who] * len(rows)),
        "item_id": _text(items),
        "value": np.array([[one.value for one in rows]], np.float64),
        "time": np.array([[one.time or 0 for one in rows]], np.int64),
        "order": np.array([[one.order or 0 for one in rows]], np.int64),
        "event_id": _text([one.event_id or _made(item, one) for item, one in zip(items, rows, strict=True)]),
    }


def _observed(events: Sequence[Event], answer: Answer, request_id: str) -> Observed:
    """What the model says of each event. Raises ServerFailure where that is no answer to them."""
    outcomes = answer.outputs[OUTCOME].reshape(-1).tolist() if OUTCOME in answer.outputs else []
    known = {APPLIED, DUPLICATE, DROPPED}
    if len(outcomes) != len(events) or any(one not in known and not one.startswith(REFUSED) for one in outcomes):
        raise ServerFailure(f"model '{MODEL}' says {outcomes[:3]} of {len(events)} events, which is no answer to them")
    refused = tuple(
        Refused(place, event, one.removeprefix(REFUSED))
        for place, (event, one) in enumerate(zip(events, outcomes, strict=True))
        if one.startswith(REFUSED)
    )
    applied, duplicates, dropped = (outcomes.count(one) for one in (APPLIED, DUPLICATE, DROPPED))
    return Observed(applied, duplicates, dropped, refused, request_id)


def _checked(place: int, event: Event) -> Event:
    """With plain numbers."""
    where = f"event {place}"
    if event.time is None and event.order is None and event.event_id is None:
        raise InvalidRequest(f"{where} has no time, order or event_id; give it one, or it is one with others like it")
    try:
        value = float(event.value)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InvalidRequest(f"{where}: value is {event.value!r}; send a finite number")
    if event.event_id is not None:
        ids.listed(f"{where}: event_id", event.event_id, "BYTES")
    return event._replace(
        value=value, time=_whole(f"{where}: time", event.time), order=_whole(f"{where}: order", event.order)
    )


def _whole(where: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)
    except (TypeError, ValueError):
        number = _MOST + 1
    if isinstance(value, bool) or not _LEAST <= number <= _MOST:
        raise InvalidRequest(f"{where} is {value!r}; send a whole number of int64, as the data set counts")
    return number


def event_name(item: int | str, time: int, order: int, value: float) -> str:
    """What names an event of a user to which nobody gave an id: all that is known of it; `order` is 0 where nobody says
    one."""
    return f"{item}|{time}|{order}|{value!r}"


def _made(item: str, event: Event) -> str:
    time, order = (0 if one is None else operator.index(one) for one in (event.time, event.order))
    return event_name(item, time, order, float(event.value))


def _text(values: Sequence[str]) -> np.ndarray:
    array = np.empty((1, len(values)), object)
    array[0] = values
    return array
