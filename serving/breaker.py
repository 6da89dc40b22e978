"""A store that no request waits for twice: once it has failed, every call fails at once until it answers again.

A thread of its own asks meanwhile, so that the time that a hung store costs is not a request's.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

PROBE_S = 0.25
"""Between two attempts to open a store that is away; twice as long each time that it fails again soon after."""
_LONGEST_S = 4.0
_STEADY_S = 10.0
"""Who answers for so long is well again: another answers a probe and hangs at the next question."""


class Closeable(Protocol):
    """What is opened and closed."""

    def close(self) -> None:
        """Closes it; closing twice is harmless."""
        ...


Store = TypeVar("Store", bound=Closeable)
Found = TypeVar("Found")


class Breaker(Generic[Store]):
    """A store behind a switch; may be shared by threads. It is opened when it is first asked."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        failure: type[Exception],
        *,
        full: type[Exception],
        embedded: bool,
    ) -> None:
        """Asks nobody yet.

        Args:
            open_store: opens the store, and finds out whether it answers; raises `failure` where it does not.
            failure: what a call raises where the store as a whole fails, and where it is away.
            full: a kind of `failure` after which the store still answers.
            embedded: it lies on this machine and never hangs: calls open it anew themselves, the next one right after a
                failure, and where it cannot be opened one of them every `PROBE_S` seconds.
        """
        self._open_store = open_store
        self._failure = failure
        self._full = full
        self._embedded = embedded
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._why: Exception | None = None
        """Not None while the store is away."""
        self._stop = threading.Event()
        self._pause_s, self._back_at, self._until = PROBE_S, -math.inf, -math.inf

    def ask(self, question: Callable[[Store], Found]) -> Found:
        """The answer. Raises `failure`: at once while the store is away."""
        store = self._opened()
        try:
            return question(store)
        except self._full:
            raise
        except self._failure as error:
            self._failed(store, error)
            raise

    def close(self) -> None:
        """Closes the store and ends the thread; the next call opens it again."""
        with self._lock:
            self._stop.set()
            store, self._store, self._why = self._store, None, None
        if store is not None:
            store.close()

    def _opened(self) -> Store:
        with self._lock:
            if self._why is not None and not (self._embedded and time.monotonic() > self._until):
                raise self._failure(f"{self._why} (nobody waits for it, and it is opened again once it answers)")
            if self._store is None:
                try:
                    self._store, self._why = self._open_store(), None
                except self._failure as error:
                    self._away(error)
                    raise
            return self._store

    def _failed(self, store: Store, error: Exception) -> None:
        with self._lock:
            if self._store is not store:  # another thread was faster
                return
            self._store = None
            if not self._embedded:
                self._away(error)
        store.close()

    def _away(self, error: Exception) -> None:
        self._why = error
        if self._embedded:
            self._until = time.monotonic() + PROBE_S
            return
        is_soon = time.monotonic() - self._back_at < _STEADY_S
        self._pause_s = min(2 * self._pause_s, _LONGEST_S) if is_soon else PROBE_S
        self._stop = threading.Event()
        threading.Thread(target=self._probe, args=(self._stop, self._pause_s), daemon=True).start()

    def _probe(self, stop: threading.Event, pause_s: float) -> None:
        while not stop.wait(pause_s):
            try:
                store = self._open_store()
            except self._failure:
                continue
            with self._lock:
                if not stop.is_set():
                    self._store, self._why, self._back_at = store, None, time.monotonic()
                    return
            store.close()
