"""`recserve serve` as a process of its own, as an operator has it, for experiments that break it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from loadtest.cores import started_on
from recserve_client import Client
from serving import shared_memory

PATIENCE_S = 120.0
"""Far more than anything takes here; only a hang reaches it."""


class Address(NamedTuple):
    """Where it answers, as it says itself."""

    url: str
    """host:port of the gRPC service."""
    metrics_url: str


class Served:
    """A context manager that leaves no process behind."""

    def __init__(self, repository: Path, *options: object, cores: Collection[int] = ()) -> None:
        """Starts `recserve serve` with these options, on free ports unless they say otherwise, on these cores."""
        self.repository = repository
        self.printed = repository.with_name(f"{repository.name}-serve-{time.monotonic_ns()}.txt")
        """What it prints for a person."""
        words = ["serve", "--repository", repository, "--json"]
        words += [word for port in ("--grpc-port", "--metrics-port") if port not in options for word in (port, 0)]
        command = [sys.executable, "-m", "recserve", *map(str, (*words, *options))]
        with self.printed.open("wb") as printed, started_on(cores or os.sched_getaffinity(0)):
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=printed, text=True)
        self._address: Address | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError):
            self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30.0)
        self.process.kill()
        self.process.communicate()

    @property
    def address(self) -> Address:
        """Waits until it is ready. Raises RuntimeError where it ends instead."""
        if self._address is None:
            assert self.process.stdout is not None
            text = "".join(self.process.stdout.readline() for _ in range(5))
            if not text:
                raise RuntimeError(f"recserve serve did not start: {self.said}")
            said = json.loads(text)
            self._address = Address(said["url"], said["metrics_url"])
        return self._address

    def client(self, deadline_s: float = 30.0) -> Client:
        """A client of the server, which shows every failure."""
        return Client(self.address.url, deadline_s=deadline_s, retries=0)

    @property
    def said(self) -> str:
        """All that it said so far to a person."""
        return self.printed.read_text()

    def says(self, text: str) -> None:
        """Waits until it said this. Raises RuntimeError where it ends without."""
        until(lambda: text in self.said or self.process.poll() is not None)
        if text not in self.said:
            raise RuntimeError(f"recserve serve ended without '{text}': {self.said}")

    def ends(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    @property
    def restarts(self) -> int:
        """The counter of restarts."""
        with urllib.request.urlopen(self.address.metrics_url) as reply:  # noqa: S310 - the server's own address
            text = reply.read().decode()
        return int(float(text.partition("\nrecserve_server_restarts ")[2].split()[0]))

    @property
    def server(self) -> int:
        """The process id of tritonserver."""
        (found,) = (child for child in children(self.process.pid) if command(child)[0].endswith("tritonserver"))
        return found

    def stub(self, model: str) -> int:
        """The process id of a model's Python stub."""
        return next(child for child in children(self.server) if f"/{model}/" in " ".join(command(child)))

    @property
    def processes(self) -> list[int]:
        """tritonserver and its stubs."""
        return [self.server, *children(self.server)]

    @property
    def memory(self) -> list[Path]:
        """Files in shared memory of all servers that it started."""
        return list(shared_memory.DIRECTORY.glob(f"recserve_{self.process.pid}_*"))


def children(process: int) -> list[int]:
    """Process ids of all children."""
    with suppress(FileNotFoundError, ProcessLookupError):
        text = "".join(path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children"))
        return [int(child) for child in text.split()]
    return []


def command(process: int) -> list[str]:
    """The words of its command line; one empty word once it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return [""]


def alive(process: int) -> bool:
    """Whether it still runs."""
    return command(process) != [""]


def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> float:
    """Waits for it; the seconds that took. Raises TimeoutError."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            raise TimeoutError(f"it did not come true within {patience_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def freeze_for(process: int, seconds: float) -> None:
    """Stops a process by SIGSTOP and lets it go on, where it still lives."""
    os.kill(process, signal.SIGSTOP)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
