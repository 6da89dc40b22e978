"""One request to the graphs of a base, of SGCTR around it at several rounds, and of MATT around it, timed in turn; and
where the time of SGCTR's graph goes.

Weights are those of a run, as the share of rows that leave early follows from them.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import NodeProto

from export.artifacts import Source
from export.repository import publish
from kernels.path_sampling.sampler import Sampler
from loadtest.latency import measure
from recserve.studies.profile import classes_of, shares
from serving.backends import packing
from serving.direct import DirectModel
from serving.versions import served_version
from training.data.click import ClickData, now
from training.layers.click_release import plain_release
from training.servable import Signature
from training.system import prepare
from training.systems.matt import SYSTEM as MATT
from training.systems.matt import Matt, MattConfig
from training.systems.sgctr import Sgctr
from training.systems.sgctr.evaluation import Answers

_BASE, _MATT = "base", MATT.name
_OWN = "Sgctr"
"""Class whose own nodes are cosines, choice and blend; those of the modules in it are the generator's."""
Requests = dict[str, np.ndarray]


class Plan(NamedTuple):
    """What is timed."""

    candidates: int
    """Of the request."""
    repetitions: int
    rounds: tuple[int, ...] = (1, 2)
    """One graph of SGCTR for each."""
    paths: int = 8
    """P of MATT."""


def run(trained: Sgctr, data: ClickData, plan: Plan) -> dict[str, Any]:
    """Median milliseconds of the processor for one request, their ratio to the base's, which share of the request's
    rows leaves SGCTR early, and the share of SGCTR's own nodes. Of the processor, as a clock also counts what else a
    busy machine does."""
    with tempfile.TemporaryDirectory(prefix="recserve-mending-") as folder:
        repository = Path(folder)
        publish(repository, _models(trained, data, plan), Source(kind="factory", name=f"{__name__}:run"))
        items = np.random.default_rng(0).integers(1, len(data.interactions.items), (1, plan.candidates))
        request = {"user_id": np.array([[1]]), "candidates": items, "request_key": np.array([[1]])}
        users = _users(data, request)
        calls = {_BASE: _graph(repository / _BASE, users)}
        calls |= {_said(rounds): _graph(repository / _named(rounds), users) for rounds in plan.rounds}
        calls[f"{plan.paths} paths"] = _graph(
            repository / f"{_MATT}_scorer", users | _paths(repository, users, request)
        )
        taken = {name: one.p50 for name, one in measure(calls, plan.repetitions, clock=time.process_time).items()}
        profile = own_share(repository / _named(plan.rounds[0]), users)
    early = dict.fromkeys(map(_said, plan.rounds), round(_early(trained, data, items[0].tolist()), 4))
    rows = [
        {"way": name, "cpu_ms": round(ms, 4), "ratio": round(ms / taken[_BASE], 3), "early_exit": early.get(name)}
        for name, ms in taken.items()
    ]
    return {
        "candidates": plan.candidates,
        "repetitions": plan.repetitions,
        "rows": rows,
        "own_share": round(profile, 4),
    }


def _named(rounds: int) -> str:
    return f"sgctr_{rounds}"


def _said(rounds: int) -> str:
    return f"{rounds} round{'s' * (rounds > 1)}"


@torch.no_grad()
def _early(trained: Sgctr, data: ClickData, items: list[int]) -> float:
    """Share of the request's rows that leave early, in every number of rounds alike."""
    interactions = data.interactions
    dense = np.array([interactions.dense("item", one) for one in items])
    answers = Answers(trained)(now(data, interactions.dense("user", 1), dense, []))
    return 1 - float(answers[:, 2].mean())


def _models(trained: Sgctr, data: ClickData, plan: Plan) -> list[Signature]:
    models = [*plain_release(_BASE, trained.base, data)]
    for rounds in plan.rounds:
        module = Sgctr(trained.base, replace(trained.config, rounds=rounds)).eval()
        module.load_state_dict(trained.state_dict())
        models += plain_release(_named(rounds), module, data)
    config = MattConfig(base="dgenctr", paths=plan.paths, dim=trained.config.dim)
    matt = MATT.build(config, data.schema)
    assert isinstance(matt, Matt)
    prepare(matt, data)
    matt.base = trained.base
    return [*models, *MATT.release(matt, config, data)]


def _users(data: ClickData, request: Requests) -> Requests:
    return {name: request[name] for name in ("user_id", "candidates")}


def _paths(repository: Path, users: Requests, request: Requests) -> Requests:
    sampler = Sampler.load(served_version(repository / f"{_MATT}_sampler"))
    user, items, key = users["user_id"][0], users["candidates"][0], request["request_key"][0]
    masks, weights = sampler.sample(user, items, np.array([items.size]), key)
    return {"masks": masks.reshape(1, -1), "weights": weights.reshape(1, -1)}


def _graph(model: Path, request: Requests) -> Callable[[], object]:
    direct = DirectModel.open(model)
    feeds = packing.pack(direct.spec, [request])
    return lambda: direct.session.run(["scores"], feeds)


def own_share(model: Path, request: Requests) -> float:
    """Share of a graph's time that its class's own nodes take: cosines, choice of fields, blend, split of the rows."""
    feeds = packing.pack(DirectModel.open(model).spec, [request])
    found = shares(served_version(model) / "model.onnx", feeds, _own)
    return found[_OWN]


def _own(node: NodeProto) -> str | None:
    return _OWN if classes_of(node)[-1:] == [_OWN] else None
