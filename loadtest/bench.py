"""`recserve bench MODEL`: one server, several load runs, one result; loadtest/README.md says how."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.cores import Pinning, split, started_on
from loadtest.driver import Load, drive
from loadtest.latency import times_of
from loadtest.pool import Pool, Request
from loadtest.scenario import Scenario
from loadtest.server_side import Snapshot
from loadtest.summary import percentiles, summarise
from recserve_client.errors import ServerFailure
from serving import manifest
from serving.admin import Admin
from serving.environment import circumstances
from serving.options import Backend
from serving.server import ServerOptions, TritonServer
from serving.versions import served_version

FLOOR_REQUESTS = 256
FLOOR_ROUNDS = 4
_SWEEP_STEPS = 5
_LOAD_MARGIN = 1.05

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a bench runs, in this order."""

    users: tuple[int, ...] = (1, 8, 32)
    """Closed loops."""
    rates: tuple[float, ...] = ()
    """Open loops, requests per second; found by a search where empty."""
    p99_budget_ms: float = 20.0
    seconds: float = 10.0
    """Of each run, after its warm-up."""
    warm_up: float = 2.0
    workers: int = 0
    """Locust workers beside a master."""
    seed: int = 0


def run(scenario: Scenario, repository: Path, plan: Plan, report: Report = lambda line: None) -> dict[str, Any]:
    """The result, in the form that report.py and gate.py read.

    Raises:
        StartupError: the server did not come up.
        ValueError: the repository does not hold the scenario's models.
    """
    pinning = split()
    report(f"{scenario.model}: computing the right answers in this process")
    pool = trusted_pool(scenario, repository, plan.seed)
    report("measuring the floor: direct ONNX Runtime, one thread")
    floor = measure_floor(scenario, repository, pool)
    with tempfile.TemporaryDirectory() as folder, serving(repository, pinning) as (server, client):
        file = Path(folder) / "pool.safetensors"
        pool.save(file)
        load = Load(
            url=server.url,
            pool=file,
            seconds=plan.seconds,
            warm_up=plan.warm_up,
            workers=plan.workers,
            cores=pinning.load,
            seed=plan.seed,
        )
        bench = _Bench(server, client, plan, load, floor, scenario.model)
        report("asking every request once, alone")
        warm(client, pool)
        runs = [bench.closed(users, report) for users in plan.users]
        opened = [bench.opened(rate, report) for rate in plan.rates] or bench.sweep(runs, report)
    return {
        "scenario": scenario.model,
        "kind": "load",
        "run": source_of(repository / scenario.model),
        **circumstances(),
        "pinning": {"server": list(pinning.server), "load": list(pinning.load)},
        "traffic": describe(scenario.distribution(repository), pool),
        "floor": floor,
        "runs": [*runs, *opened],
        "sweep": {
            "p99_budget_ms": plan.p99_budget_ms,
            "searched": not plan.rates,
            "highest_rate": highest_rate(opened, plan.p99_budget_ms),
        },
    }


def source_of(model: Path) -> str:
    """The folder of the run, or the factory, that the newest version of a model was made from."""
    return manifest.read(served_version(model))["source"]["name"]


def trusted_pool(scenario: Scenario, repository: Path, seed: int) -> Pool:
    """The scenario's requests with the answers that this process computes for each alone."""
    direct = scenario.direct(repository)
    requests = scenario.requests(repository, seed)
    return Pool(scenario.model, [Request(inputs, (direct.run(direct.prepare(inputs)),)) for inputs in requests])


def warm(client: Admin, pool: Pool) -> None:
    """Asks all requests one by one: caches fill, states are written. Raises ServingError for a wrong answer."""
    for number, request in enumerate(pool.requests):
        if not request.is_right(client.infer(pool.model, request.inputs)):
            raise ServerFailure(f"{pool.model} answers request {number} wrongly even alone; see recserve parity")


def measure_floor(scenario: Scenario, repository: Path, pool: Pool) -> dict[str, Any]:
    """Milliseconds of the model alone in this process, over the pool's requests one by one."""
    direct = scenario.direct(repository)
    prepared = [direct.prepare(request.inputs) for request in pool.requests[:FLOOR_REQUESTS]]
    taken = times_of([lambda one=one: direct.run(one) for one in prepared * FLOOR_ROUNDS])
    what = "the same requests one by one in process, all steps, states at hand in memory, one thread"
    return {"what": what, **percentiles(taken)}


def describe(distribution: str, pool: Pool) -> dict[str, Any]:
    """What was sent."""
    sizes = np.array([request.size for request in pool.requests])
    p50, p95 = np.percentile(sizes, (50, 95))
    size = {"p50": float(p50), "p95": float(p95), "max": int(sizes.max())}
    users = {request.user for request in pool.requests} - {None}
    return {
        "requests": len(sizes),
        "users": len(users) or None,
        "size": size,
        "distribution": distribution,
    }


@contextmanager
def serving(repository: Path, pinning: Pinning, backend: Backend = "python") -> Iterator[tuple[TritonServer, Admin]]:
    """A server on its cores, with a state store of its own."""
    with tempfile.TemporaryDirectory() as state:
        server = TritonServer(repository, ServerOptions(state=Path(state), backend=backend))
        with started_on(pinning.server):
            server.start()
        try:
            with server.client() as client:
                yield server, client
        finally:
            server.stop()


@dataclass(frozen=True)
class _Bench:
    """Load runs against one server."""

    server: TritonServer
    client: Admin
    plan: Plan
    load: Load
    floor: dict[str, Any]
    model: str

    def closed(self, users: int, report: Report) -> dict[str, Any]:
        report(f"closed loop, {users} users, {self.plan.seconds:g} s")
        return {"mode": "closed", "users": users, "offered": None, **self._measure(users=users)}

    def opened(self, rate: float, report: Report) -> dict[str, Any]:
        report(f"open loop, {rate:.0f} requests/s, {self.plan.seconds:g} s")
        return {"mode": "open", "users": None, "offered": round(rate, 1), **self._measure(rate=rate)}

    def sweep(self, closed: list[dict[str, Any]], report: Report) -> list[dict[str, Any]]:
        """Halves the interval between a rate that keeps the budget and one that does not, from the best closed loop."""
        found: list[dict[str, Any]] = []
        low, high = 0.0, _LOAD_MARGIN * max(run["rate"] for run in closed)
        rate = 0.6 * high
        for _ in range(_SWEEP_STEPS):
            found.append(self.opened(rate, report))
            low, high = (rate, high) if keeps(found[-1], self.plan.p99_budget_ms) else (low, rate)
            rate = (low + high) / 2
        return sorted(found, key=lambda one: one["offered"])

    def _measure(self, **how: Any) -> dict[str, Any]:
        before = Snapshot.of(self.server, self.client)
        records = drive(replace(self.load, **how))
        after = Snapshot.of(self.server, self.client)
        answered = after.statistics[self.model].success - before.statistics[self.model].success
        summary = summarise(records, self.load.seconds)
        return {
            **summary,
            "over_floor": {p: _ratio(summary[f"{p}_ms"], self.floor[f"{p}_ms"]) for p in ("p50", "p99")},
            "cpu_seconds_per_1000": round(1e3 * (after.cpu_seconds - before.cpu_seconds) / max(answered, 1), 4),
            "server": after.server_split(before),
            "metrics": after.metrics_delta(before),
        }


def keeps(one: dict[str, Any], budget_ms: float) -> bool:
    """Whether an open run stayed within the budget, every request answered right; sending late counts too."""
    return one["p99_ms"] is not None and one["p99_ms"] <= budget_ms and one["ok"] == one["requests"]


def highest_rate(opened: list[dict[str, Any]], budget_ms: float) -> float | None:
    """The largest offered rate that kept the budget."""
    return max((one["offered"] for one in opened if keeps(one, budget_ms)), default=None)


def _ratio(one: float | None, other: float | None) -> float | None:
    return round(one / other, 3) if one is not None and other else None


def write_result(result: dict[str, Any], folder: Path) -> Path:
    """Writes <scenario>-<time>.json; the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['scenario']}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path
