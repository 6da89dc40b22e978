"""A store that is opened when it is first needed, and left alone for a while after it has failed."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from serving.histories.opening import open_histories
from serving.histories.store import Change, HistoryStore, HistoryStoreError, HistoryStoreFull, Stat

PAUSE_S = 1.0
"""After a failure, in which every call fails at once: a hung store must not hold up one request after the other."""

Found = TypeVar("Found")


class PausingStore:
    """The store under `url`. A process that serves starts without it, and finds it when it is there."""

    def __init__(self, url: str, *, create: bool = True, pause_s: float = PAUSE_S) -> None:
        self._url = url
        self._create = create
        self._pause_s = pause_s
        self._store: HistoryStore | None = None
        self._opening = threading.Lock()
        self._until = 0.0
        self._why = ""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._ask(lambda store: store.get_many(keys))

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._ask(lambda store: store.heads(keys))

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        self._ask(lambda store: store.update(keys, change))

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return self._ask(lambda store: store.keys(prefix))

    def drop(self, keys: Sequence[bytes]) -> None:
        self._ask(lambda store: store.drop(keys))

    def stat(self) -> Stat:
        return self._ask(lambda store: store.stat())

    def close(self) -> None:
        with self._opening:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _ask(self, question: Callable[[HistoryStore], Found]) -> Found:
        if time.monotonic() < self._until:
            raise HistoryStoreError(f"{self._why} (it is tried again within {self._pause_s:g} s)")
        try:
            return question(self._opened())
        except HistoryStoreFull:
            raise
        except HistoryStoreError as error:
            self._why, self._until = str(error), time.monotonic() + self._pause_s
            raise

    def _opened(self) -> HistoryStore:
        with self._opening:
            if self._store is None:
                self._store = open_histories(self._url, create=self._create)
            return self._store
