"""What clients of an edge see while the servers behind it are killed, stopped, frozen, shifted and abused.

Two servers, each `recserve serve` on a release of its own, stand behind `recserve edge`; clients ask each request once,
and every answer is compared with those of both releases.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.bench import source_of
from loadtest.cores import split
from loadtest.edged import Edged
from loadtest.honest import Crowd, Manner, Phase, crowd
from loadtest.pool import Pool
from loadtest.releases import Releases
from loadtest.rude import ended, started
from loadtest.scenario import Scenario
from loadtest.served import Served, until
from serving.edge.running import version
from serving.environment import circumstances

Report = Callable[[str], None]
CANARY = "canary"
SHARES = ("90/10", "50/50", "100/0", "0/100")
"""Of the two servers, in turn."""
NAMED, NOT_NAMED = "named", "not_named"
"""Phases in which clients name the second release in a header, and in which they do not."""
_FLIPS = 6
_DRAIN_S = 2.0
_ROUND_S = 5.0


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """How long and how many."""

    seconds: float = 12.0
    """Of each experiment, about; what happens comes after a third."""
    clients: int = 4
    """Clients that behave, and ask each request once."""
    minutes: float = 10.0
    """Of rude clients."""
    honest: int = 16
    """Clients that behave beside them."""
    rude: int = 2
    """Processes of rude clients."""
    seed: int = 0


@dataclass
class Site:
    """Two servers and the edge before them."""

    scenario: Scenario
    pool: Path
    servers: list[Served]
    edge: Edged
    stack: ExitStack

    @property
    def urls(self) -> list[str]:
        """Of the servers."""
        return [one.address.url for one in self.servers]

    @contextmanager
    def asked(self, plan: EdgePlan) -> Iterator[Crowd]:
        """Clients ask through the edge inside; a while before what happens, and a while after."""
        with crowd([self.edge.url], Pool.load(self.pool), {Manner.PLAIN: plan.clients}, plan.seed) as clients:
            time.sleep(plan.seconds / 3)
            yield clients
            time.sleep(plan.seconds / 3)

    def start_again(self, place: int) -> None:
        """Starts a server that was stopped, on its ports."""
        before = self.servers[place]
        ports = [url.removesuffix("/metrics").rpartition(":")[2] for url in before.address]
        options = ("--grpc-port", ports[0], "--metrics-port", ports[1])
        self.servers[place] = self.stack.enter_context(served(before.repository, *options))


def served(repository: Path, *options: object) -> Served:
    """`recserve serve` on the server's cores."""
    one = Served(
        repository, "--state", repository.with_suffix(".state"), "--drain-s", _DRAIN_S, *options, cores=split().server
    )
    _ = one.address
    return one


@contextmanager
def sited(scenario: Scenario, repository: Path, seed: int) -> Iterator[Site]:
    """The first release on the first server, the second one on the second, which is the release `canary` too. Raises
    ValueError where the repository has fewer than two releases."""
    with TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        releases = [Releases(repository, folder / name) for name in ("first", "second")]
        releases[1].publish()
        pool = folder / "pool.safetensors"
        releases[0].pool(scenario, seed).save(pool)
        servers = [stack.enter_context(served(one.live)) for one in releases]
        urls = [one.address.url for one in servers]
        options = ("--releases", f"{CANARY}={urls[1]}")
        edge = stack.enter_context(Edged(folder / "edge", urls, *options))
        site = Site(scenario, pool, servers, edge, stack)
        edge.healthy()
        yield site


def run(scenario: Scenario, repository: Path, plan: EdgePlan, report: Report = lambda line: None) -> dict[str, Any]:
    """All experiments. Raises ValueError where the repository has fewer than two releases."""
    said = circumstances()
    said["versions"] = {**said["versions"], "envoy": version()}
    found = []
    with sited(scenario, repository, plan.seed) as site:
        for name, experiment in EXPERIMENTS.items():
            report(f"{scenario.model} behind an edge: {name.replace('_', ' ')}")
            found.append({"name": name, **experiment(site, plan)})
            site.edge.healthy()
    with sited(scenario, repository, plan.seed) as site:
        found.append({"name": RUDE, **rude(site, plan, report)})
    return {
        "scenario": "edge",
        "kind": "edge",
        "run": source_of(repository / scenario.model),
        **said,
        "seed": plan.seed,
        "experiments": found,
    }


def strike(site: Site, plan: EdgePlan, *, number: signal.Signals) -> dict[str, Any]:
    """A signal reaches one tritonserver; `recserve serve` brings it back."""
    one = site.servers[1]
    with site.asked(plan) as clients:
        before = one.said.count("ready again")
        os.kill(one.server, number)
        until(lambda: one.said.count("ready again") > before)
    return {**counted(clients), "restarts": 1}


def drain(site: Site, plan: EdgePlan) -> dict[str, Any]:
    """A server is drained at the edge, stopped at once, started again, and brought back."""
    with site.asked(plan) as clients:
        site.edge.drain(site.urls[1])
        asked = site.servers[1].ends(signal.SIGINT)
        site.start_again(1)
        site.edge.weight(f"{site.urls[1]}=1")
        site.edge.healthy()
    return {**counted(clients), "exit_code": asked}


def stop(site: Site, plan: EdgePlan) -> dict[str, Any]:
    """SIGTERM to `recserve serve`, of which the edge is not told: its readiness goes, then it is killed."""
    with site.asked(plan) as clients:
        code = site.servers[1].ends(signal.SIGTERM)
        site.start_again(1)
        site.edge.healthy()
    return {**counted(clients), "exit_code": code}


def kill_serve(site: Site, plan: EdgePlan) -> dict[str, Any]:
    """`recserve serve` itself is killed, and started again by hand."""
    with site.asked(plan) as clients:
        site.servers[1].ends(signal.SIGKILL)
        site.start_again(1)
        site.edge.healthy()
    return counted(clients)


def both(site: Site, plan: EdgePlan) -> dict[str, Any]:
    """Both tritonservers are killed at once: requests wait at the edge until one is back."""
    with site.asked(plan) as clients:
        before = [one.said.count("ready again") for one in site.servers]
        for one in site.servers:
            os.kill(one.server, signal.SIGKILL)
        until(lambda: all(one.said.count("ready again") > n for one, n in zip(site.servers, before, strict=True)))
    return {**counted(clients), "restarts": 2}


def shift(site: Site, plan: EdgePlan) -> dict[str, Any]:
    """The second server has another release, and takes a tenth of the traffic, then half, then none, then all."""
    first, second = site.urls
    with site.asked(plan) as clients:
        changes = (
            lambda: site.edge.weight(f"{first}=90", f"{second}=10"),
            lambda: site.edge.weight(f"{first}=50", f"{second}=50"),
            lambda: site.edge.drain(second),
            lambda: (site.edge.weight(f"{second}=1"), site.edge.drain(first)),
        )
        for name, change in zip(SHARES, changes, strict=True):
            change()
            clients.phase = Phase(name)
            time.sleep(plan.seconds / 3)
            clients.phase = Phase()
        site.edge.weight(f"{first}=1", f"{second}=1")
    return {**counted(clients), "answers_of_each": answered(clients, SHARES)}


def flip(site: Site, plan: EdgePlan) -> dict[str, Any]:
    """Clients name the second server's release in a header, and no longer, in turn."""
    with site.asked(plan) as clients:
        for turn in range(_FLIPS):
            clients.phase = Phase(NOT_NAMED) if turn % 2 else Phase(NAMED, CANARY)
            time.sleep(plan.seconds / 3 / _FLIPS)
    return {**counted(clients), "answers_of_each": answered(clients, (NAMED, NOT_NAMED))}


def answered(clients: Crowd, phases: Sequence[str]) -> dict[str, list[int]]:
    """Right answers of each release by phase."""
    answers = clients.answers
    return {phase: [answers[phase, place] for place in (0, 1)] for phase in phases}


def rude(site: Site, plan: EdgePlan, report: Report = lambda line: None) -> dict[str, Any]:
    """Rude clients beside clients that behave, for minutes, through one edge."""
    before = restarts(site)
    rabble = started(site.edge.url, site.pool, 60 * plan.minutes, plan.rude, plan.seed)
    try:
        with crowd([site.edge.url], Pool.load(site.pool), {Manner.PLAIN: plan.honest}, plan.seed) as clients:
            end = time.monotonic() + 60 * plan.minutes
            while time.monotonic() < end:
                time.sleep(min(_ROUND_S, max(0.0, end - time.monotonic())))
                report(_line(clients, restarts(site) - before))
            calls = ended(rabble)
            up = _up(site)
            time.sleep(plan.seconds / 3)
    finally:
        for one in rabble:
            one.kill()
    closed = site.edge.admin.counted("http.edge.downstream_rq_too_many_premature_resets")
    return {
        **counted(clients),
        "minutes": plan.minutes,
        "honest_clients": plan.honest,
        "rude_calls": calls,
        "restarts": restarts(site) - before,
        "connections_closed_for_resets": closed,
        "up_at_the_end": up,
    }


def _up(site: Site) -> bool:
    """Whether the last fault too is got over without a hand."""
    try:
        site.edge.healthy()
    except TimeoutError:
        return False
    return all(one.process.poll() is None for one in site.servers)


def _line(clients: Crowd, restarted: int) -> str:
    now = clients.counts(Manner.PLAIN)
    return f"{now['ok']} of {now['requests']} honest requests answered right, {restarted} restarts"


def restarts(site: Site) -> int:
    """Of both servers so far."""
    return sum(one.said.count("ready again") for one in site.servers)


def counted(clients: Crowd) -> dict[str, Any]:
    """What clients got, each asking once, and the longest wait for an answer."""
    return {**clients.counts(Manner.PLAIN), "slowest_s": round(clients.slowest_s, 2)}


Experiment = Callable[[Site, EdgePlan], dict[str, Any]]
EXPERIMENTS: dict[str, Experiment] = {
    "kill_server": partial(strike, number=signal.SIGKILL),
    "term_server": partial(strike, number=signal.SIGTERM),
    "freeze_server": partial(strike, number=signal.SIGSTOP),
    "kill_both": both,
    "kill_serve": kill_serve,
    "drain": drain,
    "stop": stop,
    "shift": shift,
    "flip": flip,
}
RUDE = "rude"


def holds(result: dict[str, Any]) -> bool:
    """Every request was answered right, by the release that it was for, and the servers are up at the end."""
    named = [one["answers_of_each"][NAMED] for one in result["experiments"] if one["name"] == "flip"]
    return not (
        any(one["ok"] != one["requests"] for one in result["experiments"])
        or any(wrong or not right for wrong, right in named)
        or not all(one.get("up_at_the_end", True) for one in result["experiments"])
    )
