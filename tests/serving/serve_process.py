"""`recserve serve` as a process of its own, as an operator has it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from serving import shared_memory

PATIENCE_S = 120.0
"""Far more than anything takes here; only a hang reaches it."""


class Serve:
    """A context manager that leaves nothing behind."""

    def __init__(self, repository: Path, *options: object) -> None:
        self._log = repository.with_name("serve.txt")
        words = ["serve", "--repository", repository, "--grpc-port", 0, "--metrics-port", 0, "--json", *options]
        with self._log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recserve", *map(str, words)], stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def ready(self) -> dict[str, Any]:
        """What it says once it is ready."""
        assert self.process.stdout is not None
        return json.loads("".join(self.process.stdout.readline() for _ in range(5)))

    @property
    def said(self) -> str:
        """All that it said so far to a person."""
        return self._log.read_text()

    def says(self, text: str) -> None:
        """Waits until it said this."""
        until(lambda: text in self.said or self.process.poll() is not None)
        assert text in self.said

    def ends(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    @property
    def server(self) -> int:
        """The process id of tritonserver."""
        found = [child for child in children(self.process.pid) if command(child)[0].endswith("tritonserver")]
        assert len(found) == 1
        return found[0]

    def stub(self, model: str) -> int:
        """The process id of a model's stub."""
        return next(child for child in children(self.server) if f"/{model}/" in " ".join(command(child)))

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


def restarts(metrics_url: str) -> int:
    """The counter of restarts."""
    with urllib.request.urlopen(metrics_url) as reply:
        text = reply.read().decode()
    return int(float(text.partition("\nrecserve_server_restarts ")[2].split()[0]))


def until(condition: Callable[[], object]) -> None:
    """Waits for it."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(process: int, number: signal.Signals) -> None:
    """Sends a signal."""
    os.kill(process, number)
