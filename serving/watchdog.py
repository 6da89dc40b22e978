"""Notices that a server cannot serve any more, which tritonserver 2.51 neither repairs nor tells.

After the death of a Python stub, or while one is frozen, the server goes on to call itself and the model ready while
every request to the model fails. A server that cannot serve should not look ready, so the watchdog ends it, at once:
its supervisor starts a new one.
"""

import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PERIOD_S = 0.25
_STUB = "triton_python_backend_stub"
FROZEN_S = 1.0
"""How long a process may be stopped (SIGSTOP) before it counts as frozen."""
DEAD_S = 0.4
"""A stub that ends in order is a zombie too, for the moment until the server has collected it."""
DEAD_LOADING_S = 3.0
"""While models are loaded: a stub that refuses its model ends, and the server first says why. One that is killed there
may leave a server that waits for it for good."""


class Watchdog:
    """A thread that kills a server once one of its stubs is dead, or any of its processes frozen."""

    def __init__(self, server: subprocess.Popen[bytes], dead_s: float = DEAD_S) -> None:
        """Watches from now until `stop`; `dead_s` is how long a stub may have ended."""
        self.fault: str | None = None
        """Why the watchdog ended the server; None while all is well."""
        self._server, self._dead_s = server, dead_s
        self._models: dict[int, str] = {}
        self._learn(process_states(server.pid))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tritonserver-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops watching; to be called before the server is stopped on purpose."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        since: dict[tuple[int, str], float] = {}
        while not self._stopping.wait(PERIOD_S) and self._server.poll() is None:
            now, states = time.monotonic(), process_states(self._server.pid)
            self._learn(states)
            since = {(pid, state): since.get((pid, state), now) for pid, state in states.items()}
            for (pid, state), start in since.items():
                if self.fault is None:
                    self.fault = self._fault(pid, state, now - start)
            if self.fault is not None:
                self._server.kill()
                return

    def _learn(self, processes: Iterable[int]) -> None:
        """Which models their stubs run, while they live: what is dead has no command line any more."""
        self._models |= {pid: name for pid in processes if pid not in self._models and (name := served_model(pid))}

    def _fault(self, pid: int, state: str, seconds: float) -> str | None:
        """What is wrong with a process that has been in this state for so long."""
        what = "tritonserver" if pid == self._server.pid else f"Python stub {pid} of {self._models.get(pid, 'a model')}"
        if state == "Z" and seconds >= self._dead_s and pid != self._server.pid:
            return f"{what} died, so its model cannot answer"
        if state == "T" and seconds >= FROZEN_S:
            return f"{what} is frozen (stopped by a signal), so it cannot answer"
        return None


def served_model(process: int) -> str | None:
    """Name of the model that a stub runs, out of its command line: <repository>/<model>/<version>/<file>."""
    try:
        program, *words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    is_stub = program.endswith(_STUB) and words
    return f"'{Path(words[0]).parents[1].name}'" if is_stub else None


def process_states(parent: int) -> dict[int, str]:
    """States of a process and its children by id, as the kernel names them: Z ended and not collected, T stopped."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command's name, in parentheses, may hold spaces: the fields start after it.
            state, parent_id = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(stat.parent.name)
        if parent in (int(parent_id), pid):
            found[pid] = state
    return found
