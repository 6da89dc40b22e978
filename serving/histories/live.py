"""The histories of a step's users as they are now, where the store has any; else those of the export answer."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from serving.histories.histories import Histories
from serving.histories.history import Events, check, decode, encode
from serving.histories.keys import Whose
from serving.histories.reading import Reading
from serving.histories.store import HistoryStoreError
from serving.histories.value import DamagedError, digest_of

OUTCOMES = ("live", "exported", "error")
"""Of a read of a user's history: from the store; there is none in it; the store failed, or the history is damaged."""

RawUser = int | str


class Live(NamedTuple):
    """A user's history."""

    whose: Whose
    value: bytes
    reading: Reading

    @property
    def digest(self) -> bytes:
        """24 bytes that change with the history, and with how it is read."""
        return digest_of(self.value) + self.reading.digest

    @property
    def events(self) -> Events:
        """Oldest first: of the very value that has the digest."""
        return decode(self.whose.key, self.value)

    def without(self, newest: int) -> "Live":
        """The history as it was before so many events came, if these came last and in order."""
        events = self.events
        return self._replace(value=encode(self.whose.key, events.of(np.arange(max(0, events.number - newest)))))

    def arrays(self, length: int) -> dict[str, np.ndarray]:
        """The events as the model reads them, see `Reading.arrays`."""
        return self.reading.arrays(self.events, length)


class LiveHistories:
    """One read of the store for a dynamic batch. It fails no request."""

    def __init__(self, histories: Histories, reading: Reading, count: Callable[[str, int], None]) -> None:
        self._histories = histories
        self._reading = reading
        self._count = count

    def of(self, users: Sequence[RawUser]) -> dict[RawUser, Live]:
        """Those of distinct users who have one."""
        if not users:
            return {}
        asked = [Whose(self._reading.dataset, user) for user in users]
        try:
            values = self._histories.store.get_many([one.key for one in asked])
        except HistoryStoreError:
            self._count("error", len(users))
            return {}
        found: dict[RawUser, Live] = {}
        for whose, value in zip(asked, values, strict=True):
            outcome = self._add(found, whose, value)
            self._count(outcome, 1)
        return found

    def _add(self, found: dict[RawUser, Live], whose: Whose, value: bytes | None) -> str:
        if value is None:
            return "exported"
        try:
            check(whose.key, value)
        except DamagedError:
            return "error"
        found[whose.user] = Live(whose, value, self._reading)
        return "live"

    def close(self) -> None:
        """Closes the store."""
        self._histories.close()
