"""When and how soon a request is sent again, so that retries cannot multiply an outage."""

import random
import threading
import time
from collections.abc import Callable

MOST = 2
"""Times that one request is sent again, unless the client says otherwise."""
SHARE = 0.1
"""Retries for each request that is sent."""
PER_SECOND = 1.0
"""Retries that come on top, for clients that send little."""
SAVED = 64.0
"""Retries that can be saved up: as many requests as may well be under way at a server that dies."""
_FIRST_S = 0.025


class Budget:
    """Retries that may still be sent; may be shared by threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock, self._lock = clock, threading.Lock()
        self._left, self._then = SAVED, clock()

    def earn(self) -> None:
        """A request is sent for the first time."""
        with self._lock:
            self._add(SHARE)

    def spend(self) -> bool:
        """Whether a retry may be sent; then it is taken off."""
        with self._lock:
            self._add(0.0)
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True

    def _add(self, share: float) -> None:
        now = self._clock()
        self._left = min(SAVED, self._left + share + PER_SECOND * (now - self._then))
        self._then = now


def pause_s(number: int) -> float:
    """Seconds before the retry of that number, from 0 on: twice as long each time, and never for two clients alike."""
    return _FIRST_S * 2**number * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
