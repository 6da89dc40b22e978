"""`recserve edge` as a process of its own, as an operator has it, and the commands that shift its traffic."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.failure import MeasurementError
from loadtest.program import Program
from loadtest.served import until
from serving.edge.admin import Admin, Seen
from serving.edge.bootstrap import FILE


class Edged(Program):
    """`recserve edge`."""

    def __init__(self, folder: Path, servers: Sequence[str], *options: object) -> None:
        """Starts it on free ports, its files in the folder."""
        self.folder = folder
        words = ["--servers", *servers, "--out", folder, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        super().__init__("edge", folder, *words, *options)

    @property
    def url(self) -> str:
        """host:port; waits until it takes requests."""
        return self.told["url"]

    @property
    def admin(self) -> Admin:
        """Envoy's own port."""
        _ = self.told
        return Admin.of(self.folder / FILE)

    @property
    def log(self) -> Path:
        """A line of JSON for each request."""
        return Path(self.told["log"])

    def settles(self, condition: Callable[[list[Seen]], bool]) -> None:
        """Waits until it is true of what Envoy sees."""
        until(lambda: condition(self.admin.seen()))

    def healthy(self) -> None:
        """Waits until all servers are."""
        self.settles(lambda seen: all(one.healthy for one in seen))

    def weight(self, *weights: str) -> None:
        """`recserve edge weight`. Raises MeasurementError where it fails."""
        self._command("weight", *weights)

    def drain(self, *servers: str) -> None:
        """`recserve edge drain`. Raises MeasurementError where it fails."""
        self._command("drain", *servers)

    def _command(self, *words: str) -> None:
        command = [sys.executable, "-m", "recserve", "edge", *words, "--out", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MeasurementError(f"recserve edge {' '.join(words)}: {done.stdout}{done.stderr}")
