"""One user's history: which events are kept, and how they are written.

A history is a set of events, and only the newest of it: those that come last by (time, order, id). What is kept follows
from which events arrived and from nothing else: the same events twice, in another order, or from two sources that
overlap, leave the same bytes (our design). An event that fell out is older than all that are kept, so it cannot come
back.

Axes: n events.
"""

import hashlib
from typing import Literal, NamedTuple, Self

import numpy as np

from serving.histories.value import DamagedError, Value, opened, sealed

Outcome = Literal["applied", "duplicate", "dropped", "conflict", "late", "unreadable"]
"""Kept; there already; older than all that are kept; of the id of another event; much older than the newest; nothing,
as what is there of the user is damaged, or of another kind of ids."""

_MAGIC = b"RSHI"
_KINDS = (np.dtype(np.int64), np.dtype(object))


class Events(NamedTuple):
    """Events of one user."""

    items: np.ndarray
    """Raw ids [n]: int64, or text of dtype object."""
    values: np.ndarray
    """float64 [n], as the team's table has them; 1 where events have none."""
    times: np.ndarray
    """int64 [n], in the unit of the data set."""
    orders: np.ndarray
    """int64 [n]: which of the events of one time came later; 0 where nobody says."""
    ids: np.ndarray
    """uint64 [n]: hashes of what names the event, see `id_of`."""

    @classmethod
    def none(cls, kind: Literal["int64", "string"]) -> Self:
        """No events."""
        items = np.zeros(0, np.int64 if kind == "int64" else object)
        numbers = np.zeros(0, np.int64)
        return cls(items, np.zeros(0), numbers, numbers, np.zeros(0, np.uint64))

    @property
    def number(self) -> int:
        """How many."""
        return len(self.times)

    def of(self, places: np.ndarray) -> "Events":
        """The events at these places."""
        return Events(*(column[places] for column in self))


def id_of(name: str) -> int:
    """64 bits that stand for an event's id. Two events of one user that share them are taken for one only where item,
    value and time are the same, see `merged`."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class Merged(NamedTuple):
    """A history after events have arrived."""

    history: Events
    outcomes: list[Outcome]
    """Of each event that arrived, in order."""


def merged(history: Events, arrived: Events, most: int, late: int | None = None) -> Merged:
    """The newest `most` of both, oldest first; without new events that are more than `late` older than the newest of
    the history, where that is given."""
    outcomes = _judged(history, arrived, late)
    new = [place for place, outcome in enumerate(outcomes) if outcome == "applied"]
    together = _joined(history, arrived.of(np.array(new, np.int64)))
    newest = np.lexsort((together.ids, together.orders, together.times))[-most:]
    kept = {*newest.tolist()}
    for number, place in enumerate(new):
        if history.number + number not in kept:
            outcomes[place] = "dropped"
    return Merged(together.of(newest), outcomes)


def _judged(history: Events, arrived: Events, late: int | None) -> list[Outcome]:
    """As if any number were kept."""
    # Of Python's numbers: those of numpy wrap around.
    oldest = None if late is None or not history.number else int(history.times.max()) - late
    seen = {row[-1]: row for row in _rows(history)}
    outcomes: list[Outcome] = []
    for row in _rows(arrived):
        known = seen.get(row[-1])
        if known is not None:
            # Who says no order has the same event all the same.
            outcomes.append("duplicate" if known[:3] == row[:3] else "conflict")
        elif oldest is not None and row[2] < oldest:
            outcomes.append("late")
        else:
            seen[row[-1]] = row
            outcomes.append("applied")
    return outcomes


def _rows(events: Events) -> list[tuple]:
    return list(zip(*(column.tolist() for column in events), strict=True))


def _joined(one: Events, other: Events) -> Events:
    return Events(*(np.concatenate(columns) for columns in zip(one, other, strict=True)))


def encode(key: bytes, history: Events) -> bytes:
    """The value of `key`: 40 bytes an event where items are int64, and 28."""
    numbers = (history.times, history.orders, history.values, history.ids)
    parts = [column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes() for column in numbers]
    kind = _KINDS.index(history.items.dtype)
    if kind:
        encoded = [text.encode() for text in history.items.tolist()]
        parts += [np.cumsum([len(one) for one in encoded], dtype="<u4").tobytes(), *encoded]
    else:
        parts.append(history.items.astype("<i8", copy=False).tobytes())
    return sealed(key, _MAGIC, kind, history.number, b"".join(parts))


def _whole(key: bytes, value: bytes) -> Value:
    found = opened(key, _MAGIC, value)
    if found.kind >= len(_KINDS):
        raise DamagedError("its format is unknown")
    return found


def check(key: bytes, value: bytes) -> None:
    """Raises DamagedError where `decode` does, in less time."""
    _whole(key, value)


def decode(key: bytes, value: bytes) -> Events:
    """The inverse of `encode`; the arrays are copies. Raises DamagedError."""
    kind, number, body = _whole(key, value)
    columns, start = [], 0
    for dtype in ("<i8", "<i8", "<f8", "<u8", "<u4" if kind else "<i8"):
        columns.append(np.frombuffer(body, dtype, number, start).astype(dtype[1:]))
        start += columns[-1].nbytes
    times, orders, values, ids, items = columns
    return Events(_texts(bytes(body[start:]), items) if kind else items, values, times, orders, ids)


def _texts(joined: bytes, ends: np.ndarray) -> np.ndarray:
    items = np.empty(len(ends), object)
    starts = [0, *ends.tolist()]
    items[:] = [joined[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=False)]
    return items
