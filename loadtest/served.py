"""`recserve serve` as a process of its own, as an operator has it, for experiments that break it."""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loadtest.failure import MeasurementError
from loadtest.program import PATIENCE_S, Program
from recserve_client import Client, Tls
from serving import shared_memory


class Address(NamedTuple):
    """Where it answers, as it says itself."""

    url: str
    """host:port of the gRPC service."""
    metrics_url: str


class Served(Program):
    """`recserve serve`."""

    def __init__(self, repository: Path, *options: object, cores: Collection[int] = ()) -> None:
        """Starts it with these options, on free ports unless they say otherwise, on these cores."""
        self.repository = repository
        ports = [word for port in ("--grpc-port", "--metrics-port") if port not in options for word in (port, 0)]
        super().__init__("serve", repository, "--repository", repository, *ports, *options, cores=cores)

    @property
    def address(self) -> Address:
        """Waits until it is ready. Raises MeasurementError where it ends instead."""
        return Address(self.told["url"], self.told["metrics_url"])

    def client(self, deadline_s: float = 30.0, *, tls: Tls | None = None) -> Client:
        """A client of the server, which shows every failure."""
        return Client(self.address.url, deadline_s=deadline_s, retries=0, tls=tls)

    def says(self, text: str) -> None:
        """Waits until it said this. Raises MeasurementError where it ends without."""
        until(lambda: text in self.said or self.process.poll() is not None)
        if text not in self.said:
            raise MeasurementError(f"recserve serve ended without '{text}': {self.said}")

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
