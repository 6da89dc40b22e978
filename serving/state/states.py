"""What a store of user states is asked and answers, whatever keeps them."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from serving.state import record
from serving.state.record import Key

Outcome = Literal["hit", "miss", "stale", "corrupt"]
Write = Literal["written", "failed", "no_store"]


class StateStoreError(RuntimeError):
    """The store cannot be used; the message says what to do."""


class StateStoreFull(StateStoreError):
    """The store has no room."""


class Lookup(NamedTuple):
    """A question to a store: the state of `key`, if made from what `digest` stands for."""

    key: Key
    digest: bytes


class Read(NamedTuple):
    """An answer: `arrays` are there for a hit and for nothing else."""

    outcome: Outcome
    arrays: dict[str, np.ndarray] | None = None
    time_ms: int | None = None
    """When the state was written, Unix time in milliseconds; None for a miss and for a corrupt one."""


def judged(key: bytes, value: memoryview | None, digest: bytes) -> Read:
    """What a stored value, None where there is none, is to a question of `digest`; arrays are copies."""
    if value is None:
        return Read("miss")
    header = record.open_value(key, value)
    if header is None:
        return Read("corrupt")
    if header.digest != digest:
        return Read("stale", time_ms=header.time_ms)
    return Read("hit", record.decode_arrays(value, header), header.time_ms)


class Entry(NamedTuple):
    """A state to write."""

    lookup: Lookup
    arrays: Mapping[str, np.ndarray]


class Stat(NamedTuple):
    """What a store holds."""

    url: str
    entries: dict[tuple[str, int], int]
    """(model, stamp) -> number of users."""
    used_bytes: int
    max_bytes: int | None
    """None where the store's owner sets no bound."""


class Store(Protocol):
    """States by key, embedded or remote. All methods but `close` raise StateStoreError where the store as a whole
    fails."""

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read]:
        """One answer per question, in order."""
        ...

    def put_many(self, entries: Sequence[Entry]) -> int:
        """Writes the entries; returns how many older ones had to go for them. Of a failed call some may be there."""
        ...

    def drop(self, model: str | None = None, stamp: int | None = None) -> int:
        """Deletes the states of a model and stamp, of a model, or all; returns how many there were. Raises ValueError
        for a stamp without a model."""
        ...

    def stat(self) -> Stat:
        """Sizes, and entries by model and stamp."""
        ...

    def close(self) -> None:
        """Closes it; closing twice is harmless."""
        ...


def start_of(model: str | None, stamp: int | None) -> bytes:
    """What the keys begin with that `Store.drop` deletes. Raises ValueError for a stamp without a model."""
    if model is None and stamp is not None:
        raise ValueError(f"stamp {stamp} of which model? Name the model whose states are to be dropped")
    return b"" if model is None else record.prefix(model, stamp)


class Written(NamedTuple):
    """What came of a write."""

    outcome: Write
    evicted: int = 0
    """Older states that had to go for it."""


class States(Protocol):
    """A store that cannot fail a request."""

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read] | None:
        """Answers in order; None when the store as a whole cannot be read."""
        ...

    def put_many(self, entries: Sequence[Entry]) -> Written:
        """Writes the entries, and says whether that was possible."""
        ...

    def close(self) -> None:
        """Closes the store; the next use opens it again."""
        ...
