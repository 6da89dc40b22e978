"""Room in an LMDB environment that is full: older entries go, some at a time, where a hand is that goes round the keys.

What a write costs is bounded: nothing is sorted but the window under the hand, and nobody looks for the oldest entry of
all. Each round passes every key, so what nobody writes any more goes by and by (our design).
"""

from collections.abc import Iterator
from typing import Any

import lmdb

from serving.state.record import time_of

_WINDOW = 64
"""Entries of which the older half goes."""
_MOST_WINDOWS = 8
"""Of one write."""


def pages(transaction: lmdb.Transaction, database: Any) -> int:
    """Pages in use, as this transaction sees them."""
    stat = transaction.stat(database)
    return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]


class Hand:
    """Where eviction goes on."""

    def __init__(self) -> None:
        self._key: bytes | None = None

    def make_room(self, transaction: lmdb.Transaction, database: Any, most_pages: int, near: bytes) -> int:
        """Deletes until at most `most_pages` are in use, or a bounded number of entries was looked at; returns how many
        went. The first time the hand begins at `near`."""
        evicted = 0
        for _ in range(_MOST_WINDOWS):
            if pages(transaction, database) <= most_pages:
                break
            window = dict(self._window(transaction, near if self._key is None else self._key))
            old = sorted(window, key=window.__getitem__)[: (len(window) + 1) // 2]
            for key in old:
                transaction.delete(key)
            evicted += len(old)
            self._key = next(reversed(window), None)
        return evicted

    def _window(self, transaction: lmdb.Transaction, start: bytes) -> Iterator[tuple[bytes, int]]:
        """Keys and times from `start` on, and from the beginning where that is not enough."""
        cursor, left = transaction.cursor(), _WINDOW
        for move in (lambda: cursor.set_range(start), cursor.first):
            if not move():
                continue
            for key, value in cursor:
                if not left:
                    return
                left -= 1
                yield bytes(key), time_of(memoryview(value))
