"""What clients see while things go wrong: roll-outs, killed and frozen processes, signals, overload, and a long run.

Each experiment runs against `recserve serve` under load whose every answer is compared with what the releases answer
in this process.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import stage as stages
from loadtest.bench import source_of
from loadtest.cores import split
from loadtest.honest import Manner, crowd
from loadtest.pool import Pool, Request
from loadtest.scenario import Scenario
from loadtest.served import Served, alive, freeze_for, until
from loadtest.stage import CLEAN, Stage, outcome
from serving.environment import circumstances

Report = Callable[[str], None]

OVERLOAD_SIZE = 5000
"""Candidates of a request that keeps the server, not the load generator, busy."""
_FREEZE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How hard and how long."""

    rate: float = 100.0
    """Requests per second, Poisson."""
    seconds: float = 15.0
    """Of each experiment; the fault comes after a third."""
    overload_rate: float = 300.0
    """Of requests with 5,000 candidates."""
    soak_minutes: float = 3.0
    swap_every_s: float = 20.0
    """Between roll-outs of the soak."""
    seed: int = 0


Experiment = Callable[[Stage, Plan], dict[str, Any]]


def staged(scenario: Scenario, source: Path, plan: Plan) -> AbstractContextManager[Stage]:
    """A server on the first release of a copy of `source`, its load prepared."""
    return stages.staged(scenario, source, seconds=plan.seconds, rate=plan.rate, seed=plan.seed)


def run(scenario: Scenario, repository: Path, plan: Plan, report: Report = lambda line: None) -> dict[str, Any]:
    """All experiments. Raises ValueError where the repository has fewer than two releases."""
    experiments = []
    for name, experiment in EXPERIMENTS.items():
        report(f"{scenario.model}: {name.replace('_', ' ')}")
        with staged(scenario, repository, plan) as stage:
            experiments.append({"name": name, **experiment(stage, plan)})
    report(f"{scenario.model}: soak, {plan.soak_minutes:g} minutes")
    with staged(scenario, repository, plan) as stage:
        soaked = soak(stage, plan, report)
    return {
        "scenario": "faults",
        "kind": "faults",
        "run": source_of(repository / scenario.model),
        **circumstances(),
        "experiments": experiments,
        "soak": soaked,
    }


def swap(stage: Stage, plan: Plan) -> dict[str, Any]:
    """A new release is published and taken over."""
    loading = stage.under_load()
    time.sleep(plan.seconds / 3)
    began = time.monotonic()
    stage.serve.says(f"{stage.scenario.model} {stage.releases.publish()}")
    took = time.monotonic() - began
    with stage.serve.client() as client:
        kept = client.metadata(stage.scenario.model).versions
    return {**outcome(loading.result()), "roll_out_s": round(took, 2), "serves": list(kept)}


def fall(stage: Stage, plan: Plan, *, strike: Callable[[Stage], None]) -> dict[str, Any]:
    """A process is killed or frozen; the server comes back by itself."""
    users = stage.write_states()
    loading = stage.under_load()
    time.sleep(plan.seconds / 3)
    began = time.monotonic()
    strike(stage)
    stage.serve.says("restart 1: ready again")
    took = time.monotonic() - began
    result = outcome(loading.result())
    with stage.serve.client() as client:
        ready = client.server_ready()
    return {
        **result,
        "ready_s": round(took, 2),
        "ready": ready,
        "restarts": stage.serve.restarts,
        "lost_state_writes": stage.lost_states(users),
    }


def _signal_server(number: signal.Signals, stage: Stage) -> None:
    os.kill(stage.serve.server, number)


def _signal_stub(number: signal.Signals, stage: Stage) -> None:
    os.kill(stage.serve.stub(stage.scenario.model), number)


kill_stub: Experiment = partial(fall, strike=partial(_signal_stub, signal.SIGKILL))
kill_server: Experiment = partial(fall, strike=partial(_signal_server, signal.SIGKILL))


def drain(stage: Stage, plan: Plan) -> dict[str, Any]:
    """SIGTERM, with a second server to go to: for clients that heed readiness, and for clients that retry."""
    pool = Pool.load(stage.load.pool)
    state = stage.state.with_name("other-state")
    with Served(stage.releases.live, "--state", state, cores=split().server) as other:
        urls = [stage.serve.address.url, other.address.url]
        with crowd(urls, pool, {Manner.HEEDS: 4, Manner.RETRIES: 4}, plan.seed) as clients:
            time.sleep(plan.seconds / 3)
            code = stage.serve.ends(signal.SIGTERM)
            time.sleep(plan.seconds / 3)
    counted = {manner.value: clients.counts(manner) for manner in (Manner.HEEDS, Manner.RETRIES)}
    return {**_summed(list(counted.values())), "exit_code": code, "drain_s": stages.DRAIN_S, "clients": counted}


def _summed(counts: list[dict[str, Any]]) -> dict[str, Any]:
    errors: dict[str, int] = {}
    for one in counts:
        for name, count in one["errors"].items():
            errors[name] = errors.get(name, 0) + count
    return {
        **{key: sum(one[key] for one in counts) for key in ("requests", "ok", "wrong", "unclean")},
        "errors": errors,
    }


def end(stage: Stage, plan: Plan, *, number: signal.Signals) -> dict[str, Any]:
    """`recserve serve` itself is ended by a signal, and started again on the same ports."""
    loading = stage.under_load()
    time.sleep(plan.seconds / 3)
    processes = stage.serve.processes
    code, gone = stage.serve.ends(number), stage.serve
    until(lambda: not any(map(alive, processes)) and not gone.memory)
    stage.serve_again()
    return {**outcome(loading.result()), "exit_code": code, "left_processes": 0, "left_shared_memory": 0}


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
    return {**outcome(records), "offered": plan.overload_rate, "refused_share": round(refused, 4)}


EXPERIMENTS: dict[str, Experiment] = {
    "swap": swap,
    "crash": partial(fall, strike=partial(_signal_server, signal.SIGSEGV)),
    "kill_server": kill_server,
    "kill_stub": kill_stub,
    "freeze_stub": partial(fall, strike=partial(_signal_stub, signal.SIGSTOP)),
    "freeze_server_2s": partial(fall, strike=lambda stage: freeze_for(stage.serve.server, _FREEZE_S)),
    "freeze_stub_2s": partial(fall, strike=lambda stage: freeze_for(stage.serve.stub(stage.scenario.model), _FREEZE_S)),
    "drain": drain,
    "hang_up": partial(end, number=signal.SIGHUP),
    "kill_serve": partial(end, number=signal.SIGKILL),
    "overload": overload,
}


def soak(stage: Stage, plan: Plan, report: Report = lambda line: None) -> dict[str, Any]:
    """Load for minutes with a roll-out every few seconds; what the server's processes hold is sampled between them."""
    seconds = 60 * plan.soak_minutes
    loading = stage.under_load(seconds=seconds)
    began, samples = time.monotonic(), []
    while time.monotonic() - began < seconds - plan.swap_every_s:
        time.sleep(plan.swap_every_s)
        samples.append({"second": round(time.monotonic() - began, 1), **stage.held()})
        number = stage.releases.publish()
        stage.serve.says(f"{stage.scenario.model} {number}")
        report(f"soak: {samples[-1]['second']:.0f} s, release {number}, {samples[-1]['rss_mib']:.0f} MiB")
    result = outcome(loading.result())
    # The first samples still fill caches and pools.
    settled = samples[len(samples) // 3 :]
    slope = np.polyfit([one["second"] for one in settled], [one["rss_mib"] for one in settled], 1)[0]
    return {
        **result,
        "minutes": plan.soak_minutes,
        "roll_outs": len(samples),
        "rss_mib_per_hour": round(float(slope) * 3600, 1),
        "rss_mib_per_roll_out": round(float(slope) * plan.swap_every_s, 2),
        "samples": samples,
    }


def holds(result: dict[str, Any]) -> bool:
    """Nothing wrong, no unclean error, no state lost, and roll-outs and a drain that nobody noticed."""
    everything = [*result["experiments"], result["soak"]]
    quiet = [result["soak"], *(one for one in result["experiments"] if one["name"] in ("swap", "drain"))]
    return not (
        any(one["wrong"] or one["unclean"] or one.get("lost_state_writes") for one in everything)
        or any(one["errors"] for one in quiet)
        or not all(one.get("ready", True) for one in everything)
    )


__all__ = ["CLEAN", "EXPERIMENTS", "Plan", "holds", "kill_server", "kill_stub", "run", "soak", "staged", "swap"]
