"""A load generator that is no part of what is measured: nghttp2's h2load, which sends one request over and over.

Locust, in Python, takes about as long for a request as a small model; h2load takes some microseconds. It knows nothing
of answers: that all of them are the right one follows from the bytes that came back, as many for each request.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from loadtest.cores import started_on
from loadtest.failure import MeasurementError

COMMAND = "h2load"
PACKAGE = "nghttp2-client"
_FINISHED = re.compile(r"finished in ([\d.]+)s")
_COUNTS = re.compile(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed")
_DATA = re.compile(r"traffic: .*\((\d+)\) data$", re.MULTILINE)
_PERCENTILES = (50, 95, 99)


class Wire(NamedTuple):
    """One request as it goes over the wire."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    http1: bool = False


class Measured(NamedTuple):
    """Of one run."""

    rate: float
    """Answers per second."""
    percentiles: dict[str, float]
    """p50_ms, p95_ms and p99_ms; empty where nothing was answered."""
    failed: int
    """Requests without an answer of status 200."""
    bytes_each: float
    """Of an answer."""

    def like(self, other: Self, users: int) -> bool:
        """Whether answers were as long as in another run of the same request; each of `users` may have been cut off at
        the end."""
        rest = users * other.bytes_each / max(self.rate, 1.0)
        return 0 < self.bytes_each and abs(self.bytes_each - other.bytes_each) <= rest


def grpc(path: str, message: bytes) -> Wire:
    """A call of one message."""
    headers = {"content-type": "application/grpc", "te": "trailers"}
    return Wire(path, headers, b"\0" + len(message).to_bytes(4, "big") + message)


def check() -> None:
    """Raises ValueError, with the remedy, where there is no h2load."""
    if shutil.which(COMMAND) is None:
        raise ValueError(
            f"{COMMAND} is not on PATH; install {PACKAGE} (apt-get install {PACKAGE}), or use --client locust"
        )


def drive(url: str, wire: Wire, users: int, seconds: float, cores: Sequence[int]) -> Measured:
    """`users` connections, each with one request under way, for so long. Raises MeasurementError where h2load fails."""
    with tempfile.TemporaryDirectory(prefix="recserve-h2load-") as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(wire.body)
        command = [
            COMMAND,
            f"--clients={users}",
            "--threads=1",
            f"--duration={round(1000 * seconds)}ms",
            "--warm-up-time=0",
        ]
        command += ["--max-concurrent-streams=1", f"--data={body}", f"--log-file={log}"]
        command += [f"--header={name}: {value}" for name, value in wire.headers.items()]
        command += ["--h1"] if wire.http1 else []
        with started_on(cores):
            done = subprocess.run([*command, f"http://{url}{wire.path}"], capture_output=True, text=True, check=False)
        if done.returncode or not log.is_file():
            raise MeasurementError(f"{COMMAND} ended with {done.returncode}: {done.stderr or done.stdout}")
        return measured(done.stdout, log.read_text())


def measured(said: str, log: str) -> Measured:
    """From what h2load prints and logs. Raises MeasurementError where it says something else."""
    finished, counts, data = _FINISHED.search(said), _COUNTS.search(said), _DATA.search(said)
    if finished is None or counts is None or data is None:
        raise MeasurementError(f"{COMMAND} says what is not understood: {said}")
    done, succeeded, failed = map(int, counts.groups())
    times = np.array([float(line.split("\t")[2]) for line in log.splitlines()])
    found = np.percentile(times, _PERCENTILES) / 1e3 if len(times) else []
    return Measured(
        rate=succeeded / float(finished[1]),
        percentiles={f"p{p}_ms": round(float(one), 3) for p, one in zip(_PERCENTILES, found, strict=False)},
        failed=max(failed, done - succeeded),
        bytes_each=int(data[1]) / max(done, 1),
    )
