"""The histories of all users of all data sets, over one store."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from serving.histories.facts import Facts
from serving.histories.history import Events, Outcome, decode, encode, merged
from serving.histories.keys import Whose, facts_key
from serving.histories.store import HistoryStore, HistoryStoreError
from serving.histories.value import DamagedError, digest_of

NO_DATASET = "no events of data set"
"""How it is told that a store has never heard of a data set, or has lost it."""
MOST_EVENTS = 1024
"""Of one user that are kept, where no data set asks for more."""
_REMEDY = "drop it (recserve events drop), and push its events again"


class UnknownDatasetError(ValueError):
    """Nobody has said what the ids of a data set are."""


class Histories:
    """Appends to histories and reads them; may be shared by threads. Raises HistoryStoreError where the store does."""

    def __init__(self, store: HistoryStore) -> None:
        self.store = store
        self._facts: dict[str, tuple[bytes, Facts]] = {}

    def register(self, facts: Facts) -> None:
        """Says what a data set's events may be about; what was said before is replaced."""
        self.store.update([facts_key(facts.dataset)], lambda _, before: facts.encode())

    def facts(self, dataset: str) -> Facts:
        """What is known of a data set. Raises UnknownDatasetError."""
        try:
            key = facts_key(dataset)
        except ValueError as error:
            raise UnknownDatasetError(f"'{dataset[:100]}' names no data set: {error}") from None
        (head,) = self.store.heads([key])
        if head is None:
            raise UnknownDatasetError(f"{NO_DATASET} '{dataset}' are taken here: recserve events load {dataset}")
        digest, known = self._facts.get(dataset, (b"", None))
        if known is None or digest != head:
            (value,) = self.store.get_many([key])
            try:
                known = Facts.decode(dataset, value or b"")
            except DamagedError as error:
                raise HistoryStoreError(
                    f"what is known of data set {dataset} is damaged: {error}; load it again"
                ) from error
            self._facts[dataset] = (head, known)
        return known

    def append(
        self, arrived: Mapping[Whose, Events], most: int = MOST_EVENTS, late: int | None = None
    ) -> dict[Whose, list[Outcome]]:
        """What came of each event, in order. When it returns, every reader of the store knows them.

        `most` events of each user are kept, the newest; see `merged` for `late`.
        """
        users = [*arrived]
        outcomes: dict[Whose, list[Outcome]] = {}

        def change(place: int, value: bytes | None) -> bytes | None:
            whose = users[place]
            new = arrived[whose]
            old = _history(whose, value, new)
            if old is None:
                outcomes[whose] = ["unreadable"] * new.number
                return None
            found = merged(old, new, most, late)
            outcomes[whose] = found.outcomes
            return encode(whose.key, found.history) if "applied" in found.outcomes else None

        self.store.update([whose.key for whose in users], change)
        return outcomes

    def of(self, users: Sequence[Whose]) -> list[Events | None]:
        """Their events, oldest first; None for one of whom nothing is known."""
        values = self.store.get_many([whose.key for whose in users])
        return [None if value is None else _decoded(whose, value) for whose, value in zip(users, values, strict=True)]

    def digests(self, users: Sequence[Whose]) -> list[bytes]:
        """8 bytes each that change with the user's events; empty for one of whom nothing is known."""
        heads = self.store.heads([whose.key for whose in users])
        try:
            return [b"" if head is None else digest_of(head) for head in heads]
        except DamagedError as error:
            raise HistoryStoreError(f"a history is damaged: {error}; {_REMEDY}") from error

    def close(self) -> None:
        """Closes the store."""
        self.store.close()


def _history(whose: Whose, value: bytes | None, new: Events) -> Events | None:
    """What there is so far; None where it cannot be read, or where its items are of another kind."""
    if value is None:
        return Events.none(_kind(new))
    try:
        old = decode(whose.key, value)
    except DamagedError:
        return None
    return old if old.items.dtype == new.items.dtype else None


def _kind(events: Events) -> Literal["int64", "string"]:
    return "int64" if events.items.dtype == np.int64 else "string"


def _decoded(whose: Whose, value: bytes) -> Events:
    try:
        return decode(whose.key, value)
    except DamagedError as error:
        said = f"the history of user {whose.user} of {whose.dataset} is damaged: {error}; {_REMEDY}"
        raise HistoryStoreError(said) from error
