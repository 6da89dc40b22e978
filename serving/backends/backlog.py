"""A bound on the queue that tritonserver 2.51 does not pay for with its speed.

Any `default_queue_policy` switches off the dynamic batcher's prefetching in 2.51, after which it can miss that an
instance has become free, and then sleeps for up to 500 ms although requests wait. Measured here: a third of the
throughput, and stalls of half a second at any load. So on that server the backends bound the queue (our design).

A batch that has room left took all that waited: what it holds came after the batch before. So nothing can have waited
longer than batches have been full without a break. Once that is longer than `patience`, the server is asked how many
requests wait, and their number times what one takes is the time that the last of them would wait: while that exceeds
`patience`, batches are refused.
"""

import math
import os
import re
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

PARAMETER = "max_backlog_ms"
METRICS = "RECSERVE_METRICS"
"""Environment variable with the address of the server's metrics."""
_PENDING = "nv_inference_pending_request_count"
_TIMEOUT_S = 0.5
_ASKED_PER_PATIENCE = 4
_SMOOTHING = 0.2
"""Weight of the newest batch in the mean time of a request."""


Response = TypeVar("Response")


class Backlog:
    """Judges the batches of one instance, in their order."""

    def __init__(
        self,
        max_batch_size: int,
        patience_s: float,
        pending: Callable[[], int],
        instances: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pending` tells how many requests wait for all `instances` of the model."""
        self._max_batch_size = max_batch_size
        self._patience_s = patience_s
        self._pending = pending
        self._instances = instances
        self._clock = clock
        self._full_since: float | None = None
        self._asked = float("-inf")
        self._waiting = 0.0
        self._request_s: float | None = None
        self._started: tuple[float, int] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any], version: str) -> Self | None:
        """From the configuration in its JSON form; None where it leaves the bound to the server."""
        text = config.get("parameters", {}).get(PARAMETER, {}).get("string_value")
        if text is None:
            return None
        name = config["name"]
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"{name}: parameter '{PARAMETER}' is '{text}'; write milliseconds, at least 1")
        url = os.environ.get(METRICS)
        if url is None:
            raise ValueError(
                f"{name}: '{PARAMETER}' needs the address of the server's metrics; set {METRICS}, or start the server "
                "with recserve serve, which does"
            )
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", [])) or 1
        size = int(config.get("max_batch_size", 0))
        return cls(size, int(text) / 1e3, lambda: pending_requests(url, name, version), instances)

    def guard(
        self, rows: Sequence[int], compute: Callable[[], list[Response]], refuse: Callable[[str], Response]
    ) -> list[Response]:
        """What `compute` answers to a batch, or a refusal for each of its requests; `rows` as for `refuses`."""
        try:
            if self.refuses(rows):
                return [refuse(self.reason) for _ in rows]
            return compute()
        finally:
            self.ended()

    def refuses(self, rows: Sequence[int]) -> bool:
        """Whether a batch, about to be computed, is to be refused; `rows` of each of its requests."""
        now = self._clock()
        if sum(rows) + max(rows) <= self._max_batch_size:
            self._full_since = None
            self._started = (now, len(rows))
            return False
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since > self._patience_s and self._wait_s(now) > self._patience_s:
            self._waiting -= len(rows)
            return True
        self._waiting -= len(rows)
        self._started = (now, len(rows))
        return False

    def ended(self) -> None:
        """To be told when a batch was computed or refused."""
        if self._started is None:
            return
        start, requests = self._started
        self._started = None
        taken = (self._clock() - start) / requests
        self._request_s = taken if self._request_s is None else self._request_s + _SMOOTHING * (taken - self._request_s)

    @property
    def reason(self) -> str:
        """What a refused request is told."""
        return f"the queue is full: a request would wait for more than {1e3 * self._patience_s:g} ms"

    def _wait_s(self, now: float) -> float:
        """How long the last of the waiting requests would wait."""
        if now - self._asked > self._patience_s / _ASKED_PER_PATIENCE:
            self._asked = now
            try:
                self._waiting = self._pending()
            except OSError:
                self._waiting = math.inf  # too busy to say
        return self._waiting * (self._request_s or 0.0) / self._instances


def pending_requests(url: str, model: str, version: str) -> int:
    """How many requests wait for one version of a model, from the server's metrics at `url`.

    Raises OSError where they cannot be read, ValueError where the model is not among them.
    """
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the server's own address
        text = response.read().decode()
    found = re.search(rf'^{_PENDING}{{model="{re.escape(model)}",version="{re.escape(version)}"}} (\S+)$', text, re.M)
    if found is None:
        raise ValueError(f"the metrics at {url} do not say how many requests wait for {model} version {version}")
    return int(float(found[1]))
