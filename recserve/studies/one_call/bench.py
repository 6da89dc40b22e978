"""The same requests in one call and in two, in turns of many calls, against one server.

Legend: N retrieved items, K listed items.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from loadtest.cores import split, started_on
from loadtest.pool import Tensors
from loadtest.scenario import Scenario
from loadtest.server_side import cpu_seconds
from serving.admin import Admin
from serving.configs import read_config
from serving.server import ServerOptions, TritonServer
from training.retrieve_then_rank import CANDIDATES, ITEMS, NAME, RETRIEVER, RETRIEVER_SCORES
from training.retriever.by_user import SCORES
from training.servable import NO_SCORE

_COMPARED = 64
"""Requests whose answers are compared before any is timed."""

Calls = dict[str, Callable[[Tensors], Tensors]]
Report = Callable[[str], None]


class Turns(NamedTuple):
    """How much is measured."""

    turns: int
    """Of each way."""
    calls: int
    """Requests of a turn."""


class Asking(NamedTuple):
    """A client of a repository whose items have numbers for ids."""

    client: Admin
    ranker: str
    asked: dict[str, frozenset[str]]
    """Model -> its inputs."""
    most: int
    """K"""

    def one(self, request: Tensors) -> Tensors:
        """As the server answers it."""
        return self.client.infer(NAME, request)

    def two(self, request: Tensors) -> Tensors:
        """The retriever, then the ranker about what it lists, then the order."""
        listed = self.client.infer(RETRIEVER, self._for(RETRIEVER, request))
        items, own = listed[ITEMS][0], listed[SCORES][0]
        ranked = self.client.infer(self.ranker, {**self._for(self.ranker, request), CANDIDATES: items[None]})[SCORES][0]
        order = np.argsort(np.where(items > 0, -ranked, np.inf), kind="stable")[: self.most]
        kept = (np.arange(len(order)) < request["k"][0, 0]) & (items[order] > 0)
        parts = {ITEMS: (items, 0), SCORES: (ranked, NO_SCORE), RETRIEVER_SCORES: (own, NO_SCORE)}
        return {
            name: np.where(kept, part[order], np.array(none, part.dtype))[None] for name, (part, none) in parts.items()
        }

    def _for(self, model: str, request: Tensors) -> Tensors:
        return {name: array for name, array in request.items() if name in self.asked[model]}


def run(repository: Path, ranker: str, plan: Turns, report: Report = lambda line: None) -> dict[str, Any]:
    """Milliseconds of a request and processor time of server and client, by way, and their ratios.

    Raises ValueError where a list of one call is not that of two, bit for bit, and where the repository lacks a model.
    """
    if missing := [name for name in (NAME, RETRIEVER, ranker) if not (repository / name).is_dir()]:
        raise ValueError(f"{repository} has no {missing[0]}: export RUN --then-rank RUN into it, and name its ranker")
    requests = Scenario(NAME).requests(repository, 0)
    with TemporaryDirectory(prefix="recserve-one-call-") as folder:
        options = ServerOptions(state=Path(folder) / "state", log=Path(folder) / "log")
        server = TritonServer(repository, options)
        report("starting tritonserver")
        with ExitStack() as stack:
            with started_on(split().server):
                stack.enter_context(server)
            stack.enter_context(started_on(split().load))
            client = stack.enter_context(Admin(server.url, deadline_s=30.0, admin_key=server.admin_key))
            asking = _asking(repository, ranker, client)
            calls: Calls = {"one call": asking.one, "two calls": asking.two}
            for request in requests[:_COMPARED]:
                _refuse_other(*(call(request) for call in calls.values()))
            report(f"timing {plan.turns * plan.calls:,} requests of each way")
            taken = _timed(calls, requests, plan, server.process.pid)
    return {
        "retrieved": _size(repository, RETRIEVER),
        "listed": asking.most,
        "requests": plan.turns * plan.calls,
        "compared": _COMPARED,
        "rows": [{"way": way, **figures} for way, figures in taken.items()],
        "one of two": {
            name: round(taken["one call"][name] / taken["two calls"][name], 3) for name in taken["one call"]
        },
    }


def _asking(repository: Path, ranker: str, client: Admin) -> Asking:
    asked = {
        name: frozenset(one.name for one in read_config(repository / name, "cpu").input) for name in (RETRIEVER, ranker)
    }
    return Asking(client, ranker, asked, _size(repository, NAME))


def _size(repository: Path, model: str) -> int:
    """Items of an answer."""
    return next(one.dims[-1] for one in read_config(repository / model, "cpu").output if one.name == ITEMS)


def _refuse_other(one: Tensors, two: Tensors) -> None:
    if differ := [name for name, array in one.items() if not np.array_equal(array, two[name])]:
        raise ValueError(f"one call answers other {', '.join(differ)} than two; nothing was timed")


def _timed(calls: Calls, requests: Sequence[Tensors], plan: Turns, server: int) -> dict[str, dict[str, float]]:
    """Turns of each way, one after the other; the first of each is not counted."""
    latencies: dict[str, list[float]] = {way: [] for way in calls}
    spent = {way: np.zeros(2) for way in calls}
    for turn in range(plan.turns + 1):
        chosen = [requests[(turn * plan.calls + number) % len(requests)] for number in range(plan.calls)]
        for way, call in calls.items():
            before = np.array([cpu_seconds(server), time.process_time()])
            found = _milliseconds(call, chosen)
            if turn:
                spent[way] += np.array([cpu_seconds(server), time.process_time()]) - before
                latencies[way] += found
    per_request = 1e3 / (plan.turns * plan.calls)
    return {
        way: {
            "p50_ms": round(float(np.percentile(latencies[way], 50)), 3),
            "p95_ms": round(float(np.percentile(latencies[way], 95)), 3),
            "server_cpu_ms": round(float(spent[way][0] * per_request), 3),
            "client_cpu_ms": round(float(spent[way][1] * per_request), 3),
        }
        for way in calls
    }


def _milliseconds(call: Callable[[Tensors], Tensors], requests: Sequence[Tensors]) -> list[float]:
    """Milliseconds of each request, one after the other."""
    found = []
    for request in requests:
        start = time.perf_counter()
        call(request)
        found.append(1e3 * (time.perf_counter() - start))
    return found
