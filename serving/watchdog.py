"""Notices that a Python stub died, which tritonserver 2.51 neither repairs nor tells.

After the death of a stub, the server goes on to call itself and the model ready while every request to the model
fails. A server that cannot serve should not look ready, so the watchdog ends it: its supervisor starts a new one.
"""

import subprocess
import threading
from pathlib import Path

PERIOD_S = 1.0


class Watchdog:
    """A thread that terminates a server once one of its stubs has died."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        """Watches from now until `stop`."""
        self.fault: str | None = None
        """Why the watchdog ended the server; None while all is well."""
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tritonserver-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops watching; to be called before the server is stopped on purpose."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        before: set[int] = set()
        while not self._stopping.wait(PERIOD_S) and self._server.poll() is None:
            dead = dead_children(self._server.pid)
            # A stub that ends in order is a zombie too, for the moment until the server has collected it.
            if lasting := dead & before:
                self.fault = f"Python stub {min(lasting)} died, so its model cannot answer; start the server again"
                self._server.terminate()
                return
            before = dead


def dead_children(parent: int) -> set[int]:
    """Process ids of children that ended and were not collected by their parent."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command's name, in parentheses, may hold spaces: the fields start after it.
            state, parent_id = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state == "Z" and int(parent_id) == parent:
            found.add(int(stat.parent.name))
    return found
