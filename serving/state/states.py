"""What a store of user states is asked and answers, whatever keeps them."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from serving.state.record import Key

Outcome = Literal["hit", "miss", "stale", "corrupt"]
Write = Literal["written", "failed", "no_store"]


class Lookup(NamedTuple):
    """A question to a store: the state of `key`, if made by the model of `stamp` from the history of `digest`."""

    key: Key
    stamp: int
    digest: bytes


class Read(NamedTuple):
    """An answer: `arrays` are there for a hit and for nothing else."""

    outcome: Outcome
    arrays: dict[str, np.ndarray] | None = None
    time_ms: int | None = None
    """When the state was written, Unix time in milliseconds; None for a miss and for a corrupt one."""


class Entry(NamedTuple):
    """A state to write."""

    lookup: Lookup
    arrays: Mapping[str, np.ndarray]


class Store(Protocol):
    """What the serving path asks of any store, embedded or remote."""

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read]:
        """One answer per question, in order. Raises StateStoreError when the store as a whole fails."""
        ...

    def put_many(self, entries: Sequence[Entry]) -> None:
        """Writes all entries or none. Raises StateStoreError."""
        ...

    def close(self) -> None:
        """Closes it; closing twice is harmless."""
        ...


class States(Protocol):
    """A store that cannot fail a request."""

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read] | None:
        """Answers in order; None when the store as a whole cannot be read."""
        ...

    def put_many(self, entries: Sequence[Entry]) -> Write:
        """Writes all entries or none, and says which."""
        ...

    def close(self) -> None:
        """Closes the store; the next use opens it again."""
        ...
