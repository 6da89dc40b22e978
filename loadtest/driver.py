"""Starts Locust for one load run and collects what its workers recorded."""

import math
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loadtest.cores import started_on
from loadtest.failure import MeasurementError
from loadtest.records import Records
from loadtest.transports import OURS

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_GRACE_S = 30.0
_QUIT_S = 3.0
_START_S = 60
"""At most, until the first request is sent."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """One load run."""

    url: str
    """host:port"""
    pool: Path
    """The file of a `Pool`."""
    seconds: float
    warm_up: float = 1.0
    """Seconds before the ones that count."""
    users: int = 1
    """Closed loop: each sends its next request when the last was answered."""
    rate: float | None = None
    """Open loop: requests per second at Poisson times, whatever `users` says."""
    transport: str = OURS
    workers: int = 0
    """Locust workers beside a master; 0 for one process."""
    cores: tuple[int, ...] = ()
    """Where the load generator runs; anywhere where empty."""
    seed: int = 0


def drive(load: Load) -> Records:
    """Runs it and returns the records after the warm-up.

    Raises:
        MeasurementError: Locust did not run, or sent nothing, or nothing after the warm-up.
    """
    with tempfile.TemporaryDirectory() as folder:
        with started_on(load.cores or os.sched_getaffinity(0)):
            processes = _start(load, folder)
        outputs = _ended(processes, load.warm_up + load.seconds)
        parts = [Records.load(path) for path in sorted(Path(folder).glob("*.npz"))]
    if not parts:
        raise MeasurementError("locust sent nothing; the end of what it printed:\n" + "\n".join(outputs)[-2000:])
    everything = Records.joined(parts)
    relative = everything._replace(intended=everything.intended - everything.intended[0])
    counted = relative.between(load.warm_up, load.warm_up + load.seconds)
    if not counted.latency.size:
        sent = relative.latency.size
        raise MeasurementError(f"all {sent} requests were sent in the {load.warm_up:g} s of the warm-up")
    return counted


def _ended(processes: list[subprocess.Popen[str]], seconds: float) -> list[str]:
    """What each printed. A worker sometimes misses its master's word to quit, and is told again."""
    outputs = []
    try:
        outputs.append(processes[0].communicate(timeout=seconds + _START_S + _GRACE_S)[0])
        for worker in processes[1:]:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(_QUIT_S)
            worker.terminate()
            outputs.append(worker.communicate(timeout=_GRACE_S)[0])
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"locust did not end {_START_S + _GRACE_S:g} s after its load") from error
    finally:
        for process in processes:
            process.kill()
    return outputs


def _start(load: Load, folder: str) -> list[subprocess.Popen[str]]:
    users = max(1, load.workers) if load.rate else load.users
    shared = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--loglevel", "WARNING"]
    chief = [
        *("--headless", "--only-summary", "--host", load.url, "--exit-code-on-error", "0"),
        *("--users", str(users), "--spawn-rate", str(users)),
        *("--seconds", str(load.warm_up + load.seconds), "--stop-timeout", "6"),
        *("--run-time", f"{math.ceil(load.warm_up + load.seconds) + _START_S}s"),
        *("--pool-file", str(load.pool), "--transport", load.transport, "--seed", str(load.seed)),
        *("--rate", str((load.rate or 0.0) / users), "--records", folder),
    ]
    if not load.workers:
        return [_popen([*shared, *chief])]
    port = _free_port()
    at = ["--master-port", str(port)]
    worker = ["--worker", "--master-host", "127.0.0.1", *at, "--records", folder]
    master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    master += ["--expect-workers", str(load.workers)]
    return [_popen([*shared, *master, *chief]), *(_popen([*shared, *worker]) for _ in range(load.workers))]


def _popen(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
