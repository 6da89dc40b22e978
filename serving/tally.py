"""Counters that reach the server a moment later: telling it costs a round trip between two processes, some 0.1 ms."""

import threading
from collections import defaultdict
from collections.abc import Callable

PERIOD_S = 0.05
"""How long a count may be on its way."""

Increment = Callable[[str, float], None]
"""(what, how many)."""


class Tally:
    """Adds up what is counted, and tells it from a thread of its own."""

    def __init__(self, tell: Increment, period_s: float = PERIOD_S) -> None:
        self._tell = tell
        self._period_s = period_s
        self._counts: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, what: str, number: float) -> None:
        """Counts; returns at once."""
        with self._lock:
            self._counts[what] += number

    def close(self) -> None:
        """Tells the rest."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._period_s):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, defaultdict(float)
        for what, number in counts.items():
            self._tell(what, number)
