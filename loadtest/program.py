"""A command of recserve as a process of its own, as an operator has it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from loadtest.cores import started_on
from loadtest.failure import MeasurementError

PATIENCE_S = 120.0
"""Far more than anything takes here; only a hang reaches it."""
_LAST_S = 30.0


class Program:
    """A context manager that leaves no process behind."""

    def __init__(self, name: str, beside: Path, *options: object, cores: Collection[int] = ()) -> None:
        """Starts `recserve NAME --json` with these options on these cores; what it prints for a person goes to a file
        beside a path."""
        self._name = name
        self.printed = beside.with_name(f"{beside.name}-{name}-{time.monotonic_ns()}.txt")
        command = [sys.executable, "-m", "recserve", name, *map(str, options), "--json"]
        with self.printed.open("wb") as printed, started_on(cores or os.sched_getaffinity(0)):
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=printed, text=True)
        self._told: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError):
            self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_S)
        self.process.kill()
        self.process.communicate()

    @property
    def said(self) -> str:
        """All that it said so far to a person."""
        return self.printed.read_text()

    @property
    def told(self) -> dict[str, Any]:
        """The JSON that it prints once it is ready, for which this waits.

        Raises MeasurementError where it ends instead.
        """
        if self._told is None:
            assert self.process.stdout is not None
            lines = [line := self.process.stdout.readline()]
            while line not in ("}\n", ""):
                lines.append(line := self.process.stdout.readline())
            if not line:
                raise MeasurementError(f"recserve {self._name} did not start: {self.said}")
            self._told = json.loads("".join(lines))
        assert self._told is not None
        return self._told

    def ends(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)
