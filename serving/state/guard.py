"""A state store that cannot fail a request: what goes wrong is logged and reported, and the store is opened anew."""

import time
from collections.abc import Callable, Sequence

from serving.state import open_store
from serving.state.states import Entry, Lookup, Read, Store, Write
from serving.state.store import StateStoreCorrupt, StateStoreError, StateStoreFull, set_aside


class GuardedStore:
    """The states under `url` (see `open_store`); without one every read is a miss and nothing is written.

    A damaged file is set aside and a new store is made. A store that cannot be opened is tried again after `retry_s`
    seconds. A damaged store is logged each time, any other trouble once per kind.
    """

    def __init__(self, url: str | None, warn: Callable[[str], None], *, retry_s: float = 5.0) -> None:
        self._url = url
        self._warn = warn
        self._retry_s = retry_s
        self._retry_at = 0.0
        self._warned: set[str] = set()
        self._store: Store | None = None
        if url is None:
            warn("RECSERVE_STATE is not set: no user state is kept, each request asks the encoder")
        else:
            self._open()

    def close(self) -> None:
        """Closes the store; the next use opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read] | None:
        """Answers in order; None when the store as a whole cannot be read."""
        if self._url is None:
            return [Read("miss")] * len(lookups)
        store = self._open()
        if store is None:
            return None
        try:
            return store.get_many(lookups)
        except StateStoreError as error:
            self._recover(error)
            return None

    def put_many(self, entries: Sequence[Entry]) -> Write:
        """Writes all entries or none, and says which."""
        if self._url is None:
            return "no_store"
        store = self._open()
        if store is None:
            return "failed"
        try:
            store.put_many(entries)
        except StateStoreError as error:
            self._recover(error)
            return "failed"
        return "written"

    def _open(self) -> Store | None:
        if self._store is not None or self._url is None or time.monotonic() < self._retry_at:
            return self._store
        try:
            try:
                self._store = open_store(self._url)
            except StateStoreCorrupt as error:
                self._recover(error)
                self._store = open_store(self._url)
        except StateStoreError as error:
            self._warn_once(error)
            self._retry_at = time.monotonic() + self._retry_s
        return self._store

    def _recover(self, error: StateStoreError) -> None:
        if isinstance(error, StateStoreFull):
            self._warn_once(error)
            return
        self.close()
        if not isinstance(error, StateStoreCorrupt):
            self._warn_once(error)
            return
        try:
            moved = set_aside(error)
        except OSError as reason:
            self._warn(f"{error}; moving it failed: {reason}")
        else:
            self._warn(f"{error}; moved to {moved}" if moved else f"{error}; another process has moved it")

    def _warn_once(self, error: StateStoreError) -> None:
        kind = type(error).__name__
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(f"{error}; requests go on, their states are computed again")
