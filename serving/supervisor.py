"""Keeps a server up: what ended it leads to a restart, after a pause that grows, until that happens too often."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from recserve_client.errors import ServingError
from serving.server import TritonServer
from serving.startup import StartupError

WINDOW_S = 600.0
"""Restarts are counted over this long."""
_RECENT_S = 30.0
"""Restarts within this long make the next pause longer."""
_FAILED_STARTS = 10
"""Restarts in a row that fail before it gives up: what is broken does not mend itself."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patient a supervisor is (our design)."""

    max_restarts: int = 200
    """Within ten minutes; one more fault, and it gives up."""
    first_pause_s: float = 0.1
    """Before the second restart in short order; doubles with each further one."""
    longest_pause_s: float = 5.0


class Supervisor:
    """Restarts a server that fell; `tend` is to be called a few times a second."""

    def __init__(
        self,
        server: TritonServer,
        policy: Policy,
        stop: threading.Event,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`server` was started. `stop` ends a pause or a start that is under way; `report` is told of each restart."""
        self._server = server
        self._policy = policy
        self._stop = stop
        self._report = report
        self._restarts: deque[float] = deque()
        self._is_mending = False

    @property
    def is_up(self) -> bool:
        """Whether the server is there and answered its golden requests, as far as is known; for any thread."""
        return not self._is_mending and self._server.fault is None

    def tend(self) -> None:
        """Does nothing while all is well; otherwise returns when the server is ready again, or `stop` was set.

        Raises:
            StartupError: it fell too often, or could not be started again.
        """
        self._server.guard()
        fault = self._server.fault
        for _ in range(_FAILED_STARTS):
            if fault is None or self._stop.is_set():
                return
            fault = self._restart(fault)
        if fault is not None and not self._stop.is_set():
            raise StartupError(f"{_FAILED_STARTS} restarts in a row failed; the last: {fault}")

    def _restart(self, fault: str) -> str | None:
        """One attempt: None where the server is ready again, else why it is not."""
        now = time.monotonic()
        while self._restarts and self._restarts[0] < now - WINDOW_S:
            self._restarts.popleft()
        if len(self._restarts) >= self._policy.max_restarts:
            raise StartupError(f"{len(self._restarts)} restarts within {WINDOW_S / 60:g} minutes; the last: {fault}")
        # What is left of the old process is ended first, so that nobody takes it for a server meanwhile.
        self._is_mending = True
        self._server.stop()
        self._stop.wait(self._pause_s(now))
        self._restarts.append(now)
        try:
            self._server.restart(self._stop)
        except (ServingError, ValueError, OSError) as error:
            reason = _line(str(error))
            self._report(f"restart {self._server.restarts} failed: {reason}")
            return reason
        self._is_mending = False
        took = time.monotonic() - now
        self._report(f"restart {self._server.restarts}: ready again after {took:.1f} s; {fault}{self._refused()}")
        return None

    def _refused(self) -> str:
        """What is refused from now on, as it ended the server again and again; empty where nothing is."""
        refused = self._server.crashes.refused if self._server.crashes else []
        return f"; refused from now on: {'; '.join(refused)}" if refused else ""

    def _pause_s(self, now: float) -> float:
        recent = sum(one > now - _RECENT_S for one in self._restarts)
        if not recent:
            return 0.0
        return min(self._policy.longest_pause_s, self._policy.first_pause_s * 2 ** (recent - 1))


def _line(text: str) -> str:
    """In one line."""
    return " ".join(text.split())
