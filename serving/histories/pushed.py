"""Events as clients push them: judged one by one, and gathered by user.

A push holds events of one data set, as columns. An event that is wrong is refused by name and keeps none of the others
from being taken.

Axes: N events of a push.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from recserve_client import texts
from serving.histories.examples import example_of
from serving.histories.facts import Facts
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose

MOST = 1000
"""Events of one push."""
_FUTURE_S = 86_400
"""How far ahead of this machine's clock a time may lie."""

Reason = Literal["malformed", "unknown_dataset", "unknown_item", "future_time"]


class Refused(NamedTuple):
    """Why an event is not taken."""

    reason: Reason
    text: str


class Push(NamedTuple):
    """Columns [N]. Raw ids of whole numbers are their decimal text."""

    user_id: list[str]
    item_id: list[str]
    value: list[float]
    time: list[int]
    order: list[int]
    event_id: list[str]


def push_of(columns: dict[str, np.ndarray]) -> Push:
    """Of arrays [N], text as `bytes` or `str`. Raises ValueError, naming the column, where they are no N events, or
    too many; what is no text becomes "", which no id is."""
    sizes = {name: columns[name].size for name in Push._fields}
    number = sizes["user_id"]
    if other := next((name for name, size in sizes.items() if size != number), None):
        raise ValueError(f"{other} has {sizes[other]} elements and user_id {number}: send one of each for every event")
    if number > MOST:
        raise ValueError(f"user_id has {number} elements, at most {MOST} events are taken at once: split the push")
    flat = {name: columns[name].reshape(-1).tolist() for name in Push._fields}
    users, items, ids = ([sendable(one) for one in flat[name]] for name in ("user_id", "item_id", "event_id"))
    return Push(users, items, flat["value"], flat["time"], flat["order"], ids)


def sendable(text: bytes | str) -> str:
    """The text, or "" for what no id can be: too long, with a NUL, no UTF-8."""
    try:
        texts.check(np.array([text], object))
        return text if isinstance(text, str) else text.decode()
    except ValueError:
        return ""


class Judged(NamedTuple):
    """A push after each of its events was looked at."""

    refused: dict[int, Refused]
    """By place in the push."""
    places: dict[Whose, list[int]]
    """Those that are right, by user."""
    items: list[int | str]
    """Raw ids as the data set has them, by place; 0 where refused."""


def judged(facts: Facts, push: Push) -> Judged:
    """What is wrong with which events, and whose the others are."""
    users = [_raw(facts.users, text) for text in push.user_id]
    items = [_raw(facts.items.kind, text) for text in push.item_id]
    known = _known(facts, items)
    latest = math.inf if facts.ticks is None else (time.time() + _FUTURE_S) * facts.ticks
    refused: dict[int, Refused] = {}
    places: dict[Whose, list[int]] = {}
    for place, user in enumerate(users):
        why = next(_faults(facts, push, place, user, items[place], known[place], latest), None)
        if why is not None or user is None:
            refused[place] = why or Refused("malformed", "user_id is no id")
        else:
            places.setdefault(Whose(facts.dataset, user), []).append(place)
    return Judged(refused, places, [0 if item is None else item for item in items])


def _faults(  # noqa: PLR0913 - an event's parts
    facts: Facts, push: Push, place: int, user: int | str | None, item: int | str | None, known: bool, latest: float
) -> Iterator[Refused]:
    kinds = {"int64": "a whole number of 64 bits as decimal text", "string": "text that is not empty"}
    if user is None:
        yield Refused("malformed", f"user_id is no id of {facts.dataset}: send {kinds[facts.users]}")
    elif example_of(user) is not None:
        yield Refused("malformed", f"user_id {user} stands for a user of golden requests: give that user another one")
    if item is None:
        yield Refused("malformed", f"item_id is no id of {facts.dataset}: send {kinds[facts.items.kind]}")
    if not push.event_id[place]:
        yield Refused(
            "malformed", "event_id is empty or no text: send what names the event, for pushes may be repeated"
        )
    if not math.isfinite(push.value[place]):
        yield Refused("malformed", f"value is {push.value[place]}: send a finite number, 1 where events have none")
    if push.time[place] > latest:
        yield Refused("future_time", f"time {push.time[place]} lies in the future ({facts.ticks} ticks a second)")
    if not known:
        yield Refused("unknown_item", f"item_id {str(item)[:100]} is no item of {facts.dataset}")


def _raw(kind: Literal["int64", "string"], text: str) -> int | str | None:
    """None for what is no id of the kind."""
    if kind == "string":
        return text or None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text and -(2**63) <= number < 2**63 else None


def _known(facts: Facts, items: Sequence[int | str | None]) -> list[bool]:
    dtype = np.int64 if facts.items.kind == "int64" else object
    filling = facts.items.filling
    asked = np.array([filling if item is None else item for item in items], dtype)
    return (facts.items.dense(asked) > 0).tolist() if len(asked) else []


def events_of(push: Push, found: Judged, places: Sequence[int], dtype: np.dtype) -> Events:
    """The events at these places; `dtype` is that of raw items."""
    items = np.empty(len(places), dtype)
    items[:] = [found.items[place] for place in places]
    return Events(
        items,
        np.array([push.value[place] for place in places], np.float64),
        np.array([push.time[place] for place in places], np.int64),
        np.array([push.order[place] for place in places], np.int64),
        np.array([id_of(push.event_id[place]) for place in places], np.uint64),
    )
