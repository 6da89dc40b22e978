"""Which of several servers is asked next."""

import threading
import time
from collections.abc import Callable, Collection, Sequence

PAUSE_S = 1.0
"""How long a server that failed is left out; after that one request at a time finds out whether it is back."""


class Endpoints:
    """Servers that answer the same, in turn; may be shared by threads."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        """`urls` are host:port each; `clock` gives seconds."""
        self.urls = tuple(urls)
        self._clock, self._lock = clock, threading.Lock()
        self._turn = 0
        self._out_until: dict[str, float] = {}

    def choose(self, tried: Collection[str] = ()) -> str:
        """The next one that is well and not among those that were `tried`, or else the one that is least amiss."""
        with self._lock:
            self._turn += 1
            start = self._turn % len(self.urls)
            order = (*self.urls[start:], *self.urls[:start])
            now = self._clock()
            chosen = min(order, key=lambda url: (url in tried, self._out_until.get(url, 0.0) > now))
            if chosen in self._out_until:
                self._out_until[chosen] = now + PAUSE_S
            return chosen

    def well(self, url: str) -> None:
        """It answered."""
        if url in self._out_until:
            with self._lock:
                self._out_until.pop(url, None)

    def failed(self, url: str) -> None:
        """Nobody answered there, or not in time."""
        with self._lock:
            self._out_until[url] = self._clock() + PAUSE_S
