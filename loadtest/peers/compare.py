"""Our server and the peers: same model, same requests, same core (`recserve bench peers`).

Servers take turns: each repetition starts every one of them once, in an order that rotates, so that a change of the
machine's speed meets all alike. Ratios are taken within a repetition.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from loadtest.bench import keeps, serving, source_of
from loadtest.cores import Pinning, split
from loadtest.driver import Load, drive
from loadtest.peers import environments, h2load, repeated, traffic
from loadtest.peers.environments import PEERS, Peer
from loadtest.peers.launch import running
from loadtest.peers.plan import NATIVE, OWN, PERCENTILES, Generator, Plan, Target, Visit
from loadtest.server_side import cpu_seconds
from loadtest.summary import summarise
from loadtest.transports import OURS
from serving import native
from serving.backends.recserve.program import PROGRAM_FILE
from serving.environment import circumstances, versions
from serving.versions import served_version

Report = Callable[[str], None]


class Found(NamedTuple):
    """What the open loops of one visit found; see `Visit`."""

    rate: float
    wrong: int
    late: bool


def compare(repository: Path, plan: Plan, report: Report = lambda line: None) -> dict[str, Any]:
    """The result, with a row for each server.

    Raises:
        EnvironmentFailure: a peer's environment could not be made.
        StartupError: our server did not come up, or its native form is not built.
        StartFailure: a peer did not come up, or answers wrongly.
        ValueError: a peer in torch is asked for, and the release has no program in torch.
    """
    if plan.client == "h2load":
        h2load.check()
    model = traffic.scorer_of(repository)
    pinning = split()
    pinning = Pinning(pinning.server[:1], pinning.load)
    visits: dict[str, list[Visit]] = {name: [] for name in plan.servers}
    if NATIVE in plan.servers:
        native.library()
    peers = [name for name in plan.servers if name not in OWN]
    for name in peers:
        report(f"environment of {name}: {environments.make(name)}")
    installed = {name: environments.versions(name)[PEERS[name].environment or "torch"] for name in peers}
    files = {name: _file(repository / model, PEERS[name]) for name in peers}
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.safetensors"
        traffic.pool(repository, plan.seed).save(pool)
        alone = Path(folder) / "repository"
        shutil.copytree(repository / model, alone / model)
        for repetition in range(plan.repetitions):
            for name in _rotated(plan.servers, repetition):
                report(f"repetition {repetition + 1} of {plan.repetitions}: {name}")
                with _target(name, alone / model, files, pinning) as target:
                    visits[name].append(VISITS[plan.client](target, _load(target, pool, pinning, plan), plan))
                report(f"  {visits[name][-1]}")
    return {
        "scenario": "peers",
        "kind": "peers",
        "run": source_of(repository / model),
        **circumstances(),
        "versions": versions() | installed,
        "pinning": {"server": list(pinning.server), "load": list(pinning.load)},
        "p99_budget_ms": plan.p99_budget_ms,
        "repetitions": plan.repetitions,
        "client": plan.client,
        **({"candidates": plan.candidates} if plan.client == "h2load" else {}),
        "traffic": {"distribution": _traffic(repository, plan)},
        "rows": [row(name, visits[name]) for name in plan.servers],
        "ratios": {name: ratios(visits, name) for name in OWN if name in visits},
    }


def _traffic(repository: Path, plan: Plan) -> str:
    if plan.client == "h2load":
        return f"one request of {plan.candidates} candidates, over and over; the user's state travels with it"
    return traffic.distribution(repository)


def _file(model: Path, peer: Peer) -> Path:
    """What a peer serves of the release. Raises ValueError where the release has no program in torch."""
    if not peer.is_torch:
        return served_version(model) / "model.onnx"
    form = model.with_name(f"{model.name}_kernel")
    if not form.is_dir():
        raise ValueError(
            f"{peer.name} serves the release's program in torch, and {model.parent} has no {form.name}: export the run "
            "with --kernel-form, or name other --servers"
        )
    return served_version(form) / PROGRAM_FILE


def _rotated(names: Sequence[str], by: int) -> list[str]:
    first = by % len(names)
    return [*names[first:], *names[:first]]


@contextmanager
def _target(name: str, model: Path, files: Mapping[str, Path], pinning: Pinning) -> Iterator[Target]:
    if name in OWN:
        with serving(model.parent, pinning, OWN[name]) as (server, _):
            yield Target(server.url, OURS, server.process.pid)
        return
    with running(name, files[name], pinning.server) as one:
        yield Target(one.url, environments.peer(name).transport, one.process.pid)


def _load(target: Target, pool: Path, pinning: Pinning, plan: Plan) -> Load:
    return Load(
        url=target.url,
        pool=pool,
        # The records of the warm-up are wanted too, for processor time per request.
        seconds=plan.warm_up + plan.seconds,
        warm_up=0.0,
        transport=target.transport,
        cores=pinning.load,
        seed=plan.seed,
    )


def _visit(target: Target, load: Load, plan: Plan) -> Visit:
    before = cpu_seconds(target.pid)
    everything = {users: drive(replace(load, users=users)) for users in plan.users}
    spent = cpu_seconds(target.pid) - before
    closed = {
        users: summarise(records.between(plan.warm_up, load.seconds), plan.seconds)
        for users, records in everything.items()
    }
    answered = sum(int(records.ok.sum()) for records in everything.values())
    found = _highest_rate(load, plan, max(one["rate"] for one in closed.values()))
    return Visit(
        throughput=highest([found.rate], [*closed.values()], plan.p99_budget_ms),
        cpu_seconds=1e3 * spent / max(answered, 1),
        closed={users: {p: one[p] for p in PERCENTILES} for users, one in closed.items()},
        wrong=found.wrong + sum(records.wrong for records in everything.values()),
        errors=sum(sum(records.errors.values()) for records in everything.values()),
        late=found.late,
    )


def highest(rates: Sequence[float], loops: Sequence[dict[str, Any]], budget_ms: float) -> float:
    """Of rates that kept a budget of p99, and of closed loops that did."""
    return max([*rates, *(one["rate"] for one in loops if keeps(one, budget_ms))])


VISITS: dict[Generator, Callable[[Target, Load, Plan], Visit]] = {"locust": _visit, "h2load": repeated.visit}


def _highest_rate(load: Load, plan: Plan, closed: float) -> Found:
    """Halves the interval between a rate that keeps the budget and one that does not, below the closed loop's best."""
    low, high, wrong, late = 0.0, closed, 0, False
    rate = 0.6 * high
    for _ in range(plan.sweep_steps):
        records = drive(replace(load, rate=rate))
        one = {"offered": rate, **summarise(records.between(plan.warm_up, load.seconds), plan.seconds)}
        wrong += records.wrong
        if keeps(one, plan.p99_budget_ms):
            low = rate
        else:
            high, late = rate, (one["lag_p99_ms"] or 0.0) > plan.p99_budget_ms / 2
        rate = (low + high) / 2
    return Found(low, wrong, late)


def row(name: str, visits: Sequence[Visit]) -> dict[str, Any]:
    """Medians over the repetitions; a spread is [lowest, highest]."""
    throughputs = [visit.throughput for visit in visits]
    seconds = [visit.cpu_seconds for visit in visits]
    latencies = {
        f"{percentile}_{users}": _median([visit.closed[users][percentile] for visit in visits])
        for users in visits[0].closed
        for percentile in PERCENTILES
    }
    return {
        "server": name,
        "throughput_at_p99": round(median(throughputs), 1),
        "throughput_spread": _spread(throughputs, 1),
        "cpu_seconds_per_1000": round(median(seconds), 4),
        "cpu_spread": _spread(seconds, 4),
        **latencies,
        "wrong": sum(visit.wrong for visit in visits),
        "errors": sum(visit.errors for visit in visits),
        "load_late": sum(visit.late for visit in visits),
    }


def ratios(visits: dict[str, list[Visit]], own: str) -> dict[str, dict[str, Any]]:
    """One of ours over each other server, within repetitions: a throughput above 1 and a CPU below 1 say that it is
    better."""
    return {
        name: {
            "throughput": _ratio([(o.throughput, p.throughput) for o, p in zip(visits[own], other, strict=True)]),
            "cpu": _ratio([(o.cpu_seconds, p.cpu_seconds) for o, p in zip(visits[own], other, strict=True)]),
        }
        for name, other in visits.items()
        if name != own
    }


def _ratio(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Over the repetitions in which the peer's figure is not 0."""
    found = [ours / theirs for ours, theirs in pairs if theirs]
    return {"median": _median(found), "spread": _spread(found, 3) if found else None}


def _median(values: Sequence[float | None]) -> float | None:
    """None where nothing was measured, as in a closed loop without an answer."""
    found = [value for value in values if value is not None]
    return round(median(found), 3) if found else None


def _spread(values: Sequence[float], digits: int) -> list[float]:
    return [round(min(values), digits), round(max(values), digits)]
