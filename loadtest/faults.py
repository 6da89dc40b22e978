"""What clients see while things go wrong: roll-outs, killed processes, overload, and a long run of it all.

Each experiment runs under open-loop load whose every answer is compared with what the releases answer in this process.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from loadtest.bench import source_of
from loadtest.cores import split, started_on
from loadtest.driver import Load, drive
from loadtest.pool import Pool, Request
from loadtest.records import Records
from loadtest.releases import Releases
from loadtest.scenarios import Scenario
from loadtest.summary import percentiles
from serving import state_builder
from serving.environment import command, hardware, versions
from serving.rollout import roll_out
from serving.server import ServerOptions, TritonServer, available_ports

Report = Callable[[str], None]

OVERLOAD_SIZE = 5000
"""Candidates of a request that keeps the server, not the load generator, busy."""
_WATCHDOG_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How hard and how long."""

    rate: float = 100.0
    """Requests per second, Poisson."""
    seconds: float = 12.0
    """Of each experiment; the fault comes after a third."""
    overload_rate: float = 300.0
    """Of requests with 5,000 candidates."""
    soak_minutes: float = 3.0
    swap_every_s: float = 20.0
    """Between roll-outs of the soak."""
    seed: int = 0


@dataclass
class Stage:
    """A live repository and the server on it, which can be started again on the same ports."""

    scenario: Scenario
    releases: Releases
    state: Path
    load: Load
    server: TritonServer
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def under_load(self, **how: Any) -> Future[Records]:
        """Starts the load; the server must be running."""
        return self.executor.submit(drive, replace(self.load, url=self.server.url, **how))

    def restart(self) -> float:
        """Starts a new server in the old one's place; seconds until it is ready."""
        began = time.monotonic()
        self.server.stop()
        with started_on(split().server):
            self.server.start()
        return time.monotonic() - began

    def stub_of(self, model: str) -> int:
        """The process id of a model's Python stub."""
        for child in psutil.Process(self.server.process.pid).children(recursive=True):
            if any(f"/{model}/" in word for word in child.cmdline()):
                return child.pid
        raise RuntimeError(f"{model} has no stub")


@contextmanager
def staged(scenario: Scenario, source: Path, plan: Plan) -> Iterator[Stage]:
    """A server on the first release of a copy of `source`, its load prepared."""
    with TemporaryDirectory() as folder:
        releases = Releases(source, Path(folder) / "live")
        file = Path(folder) / "pool.safetensors"
        releases.pool(scenario, plan.seed).save(file)
        state = Path(folder) / "state"
        load = Load(
            url="",
            pool=file,
            scenario=scenario.name,
            seconds=plan.seconds,
            rate=plan.rate,
            cores=split().load,
            seed=plan.seed,
        )
        grpc_port, metrics_port = available_ports("127.0.0.1", (0, 0))
        options = ServerOptions(state=state, model_control="explicit", grpc_port=grpc_port, metrics_port=metrics_port)
        server = TritonServer(releases.live, options)
        with started_on(split().server):
            server.start()
        stage = Stage(scenario, releases, state, load, server)
        try:
            yield stage
        finally:
            stage.executor.shutdown(cancel_futures=True)
            server.stop()


Experiment = Callable[[Stage, Plan], dict[str, Any]]


def run(scenario: Scenario, repository: Path, plan: Plan, report: Report = lambda line: None) -> dict[str, Any]:
    """All experiments. Raises ValueError where the repository has fewer than two releases."""
    experiments = []
    for experiment in (swap, kill_stub, kill_server, overload):
        report(f"{scenario.name}: {experiment.__name__.replace('_', ' ')}")
        with staged(scenario, repository, plan) as stage:
            experiments.append({"name": experiment.__name__, **experiment(stage, plan)})
    report(f"{scenario.name}: soak, {plan.soak_minutes:g} minutes")
    with staged(scenario, repository, plan) as stage:
        soaked = soak(stage, plan, report)
    return {
        "scenario": "faults",
        "kind": "faults",
        "run": source_of(repository / scenario.model),
        "recorded": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "versions": versions(),
        "hardware": hardware(),
        "command": command(),
        "experiments": experiments,
        "soak": soaked,
    }


def swap(stage: Stage, plan: Plan) -> dict[str, Any]:
    """A new release is published and rolled out."""
    loading = stage.under_load()
    time.sleep(plan.seconds / 3)
    stage.releases.publish()
    began = time.monotonic()
    with stage.server.client() as client:
        roll_out(client, stage.releases.live)
        took = time.monotonic() - began
        kept = client.metadata(stage.scenario.model).versions
    return {**_outcome(loading.result()), "roll_out_s": round(took, 2), "serves": list(kept)}


def kill_stub(stage: Stage, plan: Plan) -> dict[str, Any]:
    """The process that answers and writes states is killed; the watchdog ends the server, which starts anew."""
    users = _write_states(stage)
    loading = stage.under_load()
    time.sleep(plan.seconds / 3)
    os.kill(stage.stub_of(stage.scenario.model), signal.SIGKILL)
    noticed = _until(lambda: stage.server.fault is not None)
    lost = _lost_states(stage, users)
    ready = stage.restart()
    return {**_outcome(loading.result()), "noticed_s": noticed, "ready_s": round(ready, 2), "lost_state_writes": lost}


def kill_server(stage: Stage, plan: Plan) -> dict[str, Any]:
    """The server is killed and started again."""
    users = _write_states(stage)
    loading = stage.under_load()
    time.sleep(plan.seconds / 3)
    stage.server.process.kill()
    ready = stage.restart()
    outcome = _outcome(loading.result())
    return {**outcome, "ready_s": round(ready, 2), "lost_state_writes": _lost_states(stage, users)}


def overload(stage: Stage, plan: Plan) -> dict[str, Any]:
    """More arrives than the server can answer: full queues refuse, and what is accepted is answered in time."""
    inputs = stage.scenario.requests(stage.releases.live, plan.seed)[:64]
    large = [{**one, "candidates": np.resize(one["candidates"], (1, OVERLOAD_SIZE))} for one in inputs]
    direct = stage.scenario.direct(stage.releases.live)
    pool = Pool(stage.scenario.model, [Request(one, (direct.run(direct.prepare(one)),)) for one in large])
    file = stage.load.pool.with_name("overload.safetensors")
    pool.save(file)
    # Four workers, as each has at most 64 requests under way.
    records = stage.under_load(rate=plan.overload_rate, pool=file, workers=4).result()
    refused = float((records.outcome == "QueueFull").mean()) if len(records.outcome) else 0.0
    return {**_outcome(records), "offered": plan.overload_rate, "refused_share": round(refused, 4)}


def soak(stage: Stage, plan: Plan, report: Report = lambda line: None) -> dict[str, Any]:
    """Load for minutes with a roll-out every few seconds; what the server's processes hold is sampled between them."""
    seconds = 60 * plan.soak_minutes
    loading = stage.under_load(seconds=seconds)
    began, samples = time.monotonic(), []
    with stage.server.client() as client:
        while time.monotonic() - began < seconds - plan.swap_every_s:
            time.sleep(plan.swap_every_s)
            samples.append({"second": round(time.monotonic() - began, 1), **_held(stage.server)})
            number = stage.releases.publish()
            roll_out(client, stage.releases.live)
            report(f"soak: {samples[-1]['second']:.0f} s, release {number}, {samples[-1]['rss_mib']:.0f} MiB")
    outcome = _outcome(loading.result())
    # The first samples still fill caches and pools.
    settled = samples[len(samples) // 3 :]
    slope = np.polyfit([one["second"] for one in settled], [one["rss_mib"] for one in settled], 1)[0]
    return {
        **outcome,
        "minutes": plan.soak_minutes,
        "roll_outs": len(samples),
        "rss_mib_per_hour": round(float(slope) * 3600, 1),
        "rss_mib_per_roll_out": round(float(slope) * plan.swap_every_s, 2),
        "samples": samples,
    }


def _outcome(records: Records) -> dict[str, Any]:
    right = records.latency[records.ok]
    return {
        "requests": len(records.latency),
        "ok": int(records.ok.sum()),
        "wrong": records.wrong,
        "errors": records.errors,
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


def _write_states(stage: Stage) -> list[int]:
    """Asks for every user of the pool once, so that every state is written; the users."""
    users = sorted({request.inputs["user_id"].item() for request in Pool.load(stage.load.pool).requests})
    with stage.server.client() as client:
        for user in users:
            client.infer(stage.scenario.model, {"user_id": np.array([[user]]), "candidates": np.array([[1]])})
    return users


def _lost_states(stage: Stage, users: list[int]) -> int:
    """Users who were answered, and whose state the store does not hold."""
    shown = (state_builder.show(stage.releases.live, stage.state, user) for user in users)
    return sum(one.outcome != "hit" for one in shown)


def _held(server: TritonServer) -> dict[str, float]:
    """Resident memory, file descriptors and shared-memory files of the server and its stubs."""
    root = psutil.Process(server.process.pid)
    processes = [root, *root.children(recursive=True)]
    return {
        "rss_mib": round(sum(one.memory_info().rss for one in processes) / 2**20, 1),
        "descriptors": sum(one.num_fds() for one in processes),
        "processes": len(processes),
        "shared_memory_files": len(server.shared_memory_files),
    }


def _until(condition: Callable[[], bool]) -> float:
    """Seconds until the condition holds. Raises RuntimeError where it does not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > _WATCHDOG_S:
            raise RuntimeError("nobody noticed that the stub is dead")
        time.sleep(0.02)
    return round(time.monotonic() - began, 2)
