"""A bound on the queue that tritonserver 2.51 does not pay for with its speed.

Any `default_queue_policy` switches off the dynamic batcher's prefetching in 2.51, after which it can miss that an
instance has become free, and then sleeps for up to 500 ms although requests wait. Measured here: a third of the
throughput, and stalls of half a second at any load. So on that server the backends bound the queue: a model whose
batches have been more than half full for longer than `patience` is behind, and refuses what waits until it has caught
up. What it accepts has waited for hardly more than `patience`.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Self

PARAMETER = "max_backlog_ms"
SMALLEST_BATCH = 4
"""Of `max_batch_size`: below it, how full a batch is does not tell whether requests wait."""
_IDLE_S = 0.02
"""A model whose queue is not empty gets its next batch sooner."""


class Backlog:
    """Judges the batches of one instance, in their order."""

    def __init__(self, max_batch_size: int, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._enough = max_batch_size // 2
        self._patience_s = patience_s
        self._clock = clock
        self._since: float | None = None
        self._ended = clock()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self | None:
        """From the configuration in its JSON form; None where it leaves the bound to the server."""
        text = config.get("parameters", {}).get(PARAMETER, {}).get("string_value")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"{config['name']}: parameter '{PARAMETER}' is '{text}'; write milliseconds, at least 1")
        size = int(config.get("max_batch_size", 0))
        if size < SMALLEST_BATCH:
            raise ValueError(
                f"{config['name']}: '{PARAMETER}' needs max_batch_size {SMALLEST_BATCH} or more, not {size}"
            )
        return cls(size, int(text) / 1e3)

    def refuses(self, requests: int) -> bool:
        """Whether a batch of so many requests, about to be computed, is to be refused."""
        now = self._clock()
        if requests <= self._enough:
            self._since = None
            return False
        if self._since is None or now - self._ended > _IDLE_S:
            self._since = now
        return now - self._since > self._patience_s

    def ended(self) -> None:
        """To be told when a batch was computed or refused: a model that then has nothing to do is not behind."""
        self._ended = self._clock()

    @property
    def reason(self) -> str:
        """What a refused request is told."""
        return f"the queue is full: the model has been behind for more than {1e3 * self._patience_s:g} ms"
