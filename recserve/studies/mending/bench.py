"""One request to the graphs of a base, of SGCTR around it at several rounds, and of MATT around it, timed in turn; and
where the time of SGCTR's graph goes.

Weights are those of a run, as the share of rows that leave early follows from them.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from export.artifacts import Source
from export.repository import publish
from kernels.path_sampling.sampler import Sampler
from loadtest.latency import measure
from serving.backends import packing
from serving.direct import DirectModel
from serving.versions import served_version
from training.data.click import ClickData
from training.layers.click_release import plain_release
from training.servable import Signature
from training.system import prepare
from training.systems.matt import SYSTEM as MATT
from training.systems.matt import Matt, MattConfig
from training.systems.sgctr import Sgctr

ROUNDS = (1, 2)
PATHS = 8
_BASE, _MATT = "base", MATT.name
_OWN = "Sgctr"
"""Class whose own nodes are cosines, choice and blend; those of the modules in it are the generator's."""
Requests = dict[str, np.ndarray]


def run(
    trained: Sgctr,
    data: ClickData,
    candidates: int,
    repetitions: int,
    *,
    rounds: Sequence[int] = ROUNDS,
    paths: int = PATHS,
) -> dict[str, Any]:
    """Median milliseconds of one request, their ratio to the base's, and the share of the own nodes of SGCTR with the
    first number of rounds."""
    with tempfile.TemporaryDirectory(prefix="recserve-mending-") as folder:
        repository = Path(folder)
        publish(repository, _models(trained, data, rounds, paths), Source(kind="factory", name=f"{__name__}:run"))
        items = np.random.default_rng(0).integers(1, len(data.interactions.items), (1, candidates))
        request = {"user_id": np.array([[1]]), "candidates": items, "request_key": np.array([[1]])}
        users = _users(data, request)
        calls = {_BASE: _graph(repository / _BASE, users)}
        calls |= {f"{one} rounds": _graph(repository / _named(one), users) for one in rounds}
        calls[f"{paths} paths"] = _graph(repository / f"{_MATT}_scorer", users | _paths(repository, users, request))
        taken = {name: one.p50 for name, one in measure(calls, repetitions).items()}
        profile = own_share(repository / _named(rounds[0]), users, repository)
    rows = [{"way": name, "p50_ms": round(ms, 4), "ratio": round(ms / taken[_BASE], 3)} for name, ms in taken.items()]
    return {"candidates": candidates, "repetitions": repetitions, "rows": rows, "own_share": round(profile, 4)}


def _named(rounds: int) -> str:
    return f"sgctr_{rounds}"


def _models(trained: Sgctr, data: ClickData, rounds: Sequence[int], paths: int) -> list[Signature]:
    models = [*plain_release(_BASE, trained.base, data)]
    for one in rounds:
        module = Sgctr(trained.base, replace(trained.config, rounds=one)).eval()
        module.load_state_dict(trained.state_dict())
        models += plain_release(_named(one), module, data)
    config = MattConfig(base="dgenctr", paths=paths, dim=trained.config.dim)
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


def own_share(model: Path, request: Requests, folder: Path, repetitions: int = 20) -> float:
    """Share of a graph's time that its class's own nodes take: cosines, choice of fields, blend, and the rows' split.
    Without optimisation, so that the nodes keep their names."""
    file = served_version(model) / "model.onnx"
    nodes = onnx.load(file).graph.node
    said = {one.name: {entry.key: entry.value for entry in one.metadata_props} for one in nodes}
    own = {
        name
        for name, entries in said.items()
        if _class_of(entries.get("pkg.torch.onnx.class_hierarchy", "[]")).endswith(f".{_OWN}")
    }
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.intra_op_num_threads = True, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feeds = packing.pack(DirectModel.open(model).spec, [request])
    for _ in range(repetitions):
        session.run(["scores"], feeds)
    events = json.loads(Path(session.end_profiling()).read_text())
    took = [
        (event["name"].removesuffix("_kernel_time"), event["dur"])
        for event in events
        if event["name"].endswith("_kernel_time")
    ]
    return sum(time for name, time in took if name in own) / sum(time for _, time in took)


def _class_of(hierarchy: str) -> str:
    """The innermost class of a node, whose last entry is its operator."""
    names = [one.strip("'\" ") for one in hierarchy.strip("[]").split(",")]
    return names[-2] if len(names) > 1 else ""
