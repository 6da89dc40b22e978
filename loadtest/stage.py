"""A live repository with `recserve serve` on it, under load, for experiments that break things."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from loadtest.cores import split
from loadtest.driver import Load, drive
from loadtest.pool import Pool
from loadtest.records import Records
from loadtest.releases import Releases
from loadtest.scenario import Scenario, steps_of
from loadtest.served import Served
from loadtest.summary import percentiles
from serving.state import builder as state_builder
from serving.state import url_of

DRAIN_S = 2.0
CLEAN = frozenset({"ServerUnavailable", "ModelUnavailable", "QueueFull", "DeadlineExceeded"})
"""Errors that tell a client to ask again later; any other is unclean."""


@dataclass
class Stage:
    """Everything that an experiment needs."""

    scenario: Scenario
    releases: Releases
    state: Path
    load: Load
    serve: Served
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def under_load(self, **how: Any) -> Future[Records]:
        """Starts the load; the server must be ready."""
        return self.executor.submit(drive, replace(self.load, url=self.serve.address.url, **how))

    def serve_again(self) -> None:
        """Starts `recserve serve` anew on the ports where it was, after it has ended."""
        ports = [url.removesuffix("/metrics").rpartition(":")[2] for url in self.serve.address]
        options = ("--grpc-port", ports[0], "--metrics-port", ports[1])
        self.serve = serving(self.releases, self.state, *options)

    def write_states(self) -> list[int | str]:
        """Asks for every user of the pool once, so that every state is written; the users."""
        one_of_each = {one.user: one for one in Pool.load(self.load.pool).requests if one.user is not None}
        with self.serve.client() as client:
            for request in one_of_each.values():
                client.infer(self.scenario.model, request.inputs)
        return list(one_of_each)

    def lost_states(self, users: Sequence[int | str]) -> int:
        """Users who were answered, and whose state the store does not hold."""
        lost = 0
        for user in users:
            # Nothing is remembered about users without a history.
            with suppress(ValueError):
                lost += self._shown(user).outcome != "hit"
        return lost

    def _shown(self, user: int | str) -> state_builder.Shown:
        live = self.releases.live
        steps = {step.model_name for step in steps_of(live / self.scenario.model)}
        (model,) = steps & {*state_builder.models_with_states(live)}
        return state_builder.show(live, url_of(self.state), user, model=model)

    def held(self) -> dict[str, float]:
        """Resident memory, file descriptors and shared-memory files of the server and its stubs."""
        processes = [psutil.Process(one) for one in self.serve.processes]
        return {
            "rss_mib": round(sum(one.memory_info().rss for one in processes) / 2**20, 1),
            "descriptors": sum(one.num_fds() for one in processes),
            "processes": len(processes),
            "shared_memory_files": len(self.serve.memory),
        }


@contextmanager
def staged(scenario: Scenario, source: Path, *, seconds: float, rate: float, seed: int) -> Iterator[Stage]:
    """A server on the first release of a copy of `source`, its load prepared."""
    with TemporaryDirectory() as folder:
        releases = Releases(source, Path(folder) / "live")
        file = Path(folder) / "pool.safetensors"
        releases.pool(scenario, seed).save(file)
        load = Load(url="", pool=file, seconds=seconds, rate=rate, cores=split().load, seed=seed)
        state = Path(folder) / "state"
        stage = Stage(scenario, releases, state, load, serving(releases, state))
        try:
            yield stage
        finally:
            stage.executor.shutdown(cancel_futures=True)
            stage.serve.__exit__()


def serving(releases: Releases, state: Path, *options: object) -> Served:
    """`recserve serve` on the live repository, on the server's cores; follows what is published."""
    served = Served(releases.live, "--state", state, "--follow", "--drain-s", DRAIN_S, *options, cores=split().server)
    _ = served.address
    return served


def outcome(records: Records) -> dict[str, Any]:
    """Counts and latencies of what was asked."""
    right = records.latency[records.ok]
    return {
        "requests": len(records.latency),
        "ok": int(records.ok.sum()),
        "wrong": records.wrong,
        "errors": records.errors,
        "unclean": sum(count for name, count in records.errors.items() if name not in CLEAN),
        **percentiles(right),
        "max_ms": round(float(right.max()), 2) if len(right) else None,
        "outage_s": _outage(records),
    }


def _outage(records: Records) -> float:
    """Seconds from the first request that failed to the first one after the last failure that was answered."""
    bad = np.flatnonzero(~records.ok)
    if not len(bad):
        return 0.0
    after = records.intended[bad[-1] + 1 :]
    end = after[0] if len(after) else records.intended[-1]
    return round(float(end - records.intended[bad[0]]), 2)
