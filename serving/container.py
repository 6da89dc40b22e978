"""Runs NVIDIA's container on a repository, for as long as it answers right."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from recserve_client import Client
from serving import readiness, releases
from serving.command import USER, Container, Engine, mounted
from serving.served_configs import settle
from serving.startup import StartupError

TARGET = "gpu"
STOP_S = 30.0
_POLL_S = 0.2
_ENGINES: tuple[Engine, ...] = ("docker", "podman")


def engine() -> Engine | None:
    """The container engine of this machine; None where there is none."""
    return next((name for name in _ENGINES if shutil.which(name)), None)


class Running:
    """A container of one server; a context manager that stops it."""

    def __init__(self, container: Container, command: Sequence[str], *, ready_timeout_s: float) -> None:
        """`command` is that of `container_command`. Nothing starts before `start`."""
        self._container = container
        self._command = command
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        # The engine passes the signal on.
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def url(self) -> str:
        """host:port of the gRPC service."""
        return f"127.0.0.1:{self._container.grpc_port}"

    @property
    def ended(self) -> int | None:
        """Exit code of the engine; None while the container runs."""
        assert self._process is not None
        return self._process.poll()

    def start(self, stop: threading.Event) -> None:
        """Returns when every file was the published one and every golden request was answered right, or `stop` was set.

        Raises:
            ValueError: the repository holds no model, or a file that is not the published one.
            StartupError: the container ended, was not ready in time, or answers wrongly.
        """
        repository = self._container.repository
        readiness.models(repository, TARGET)
        settle(repository, releases.served_versions(repository))
        readiness.check_files(repository, TARGET)
        for folder, _ in mounted(self._container):
            # The engine would make it, and root would own it.
            folder.mkdir(parents=True, exist_ok=True)
            _hand_over(folder)
        self._process = subprocess.Popen([*self._command], stdin=subprocess.DEVNULL, start_new_session=True)
        with Client(self.url, deadline_s=1.0) as client:
            if self._wait(client, stop):
                readiness.check_goldens(client, repository, TARGET)

    def _wait(self, client: Client, stop: threading.Event) -> bool:
        end = time.monotonic() + self._ready_timeout_s
        while not client.server_ready():
            if self.ended is not None:
                raise StartupError(f"{Path(self._command[0]).name} ended with {self.ended}; what it printed says why")
            if time.monotonic() > end:
                raise StartupError(f"the container was not ready after {self._ready_timeout_s:g} s")
            if stop.wait(_POLL_S):
                return False
        return True


def _hand_over(folder: Path) -> None:
    """Makes a store that root keeps writable for the container's user, who is not root."""
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, USER, USER)
