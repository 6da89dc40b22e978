"""The base and MATT at several numbers of paths, in this process and through the server, in one run."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.artifacts import Source
from export.repository import publish
from kernels.path_sampling.sampler import Sampler
from loadtest.latency import Percentiles, measure
from recserve.studies.matt_cost.models import base_name, matt_name, models
from serving.admin import Admin
from serving.backends import packing
from serving.direct import DirectModel
from serving.environment import UNTRAINED, circumstances
from serving.server import ServerOptions, TritonServer
from serving.versions import served_version
from training.data.click import ClickData

BASES = ("deepfm", "autoint", "dea")
PATHS = (4, 8, 16)
Report = Callable[[str], None]
Calls = dict[str, Callable[[], object]]


def run(
    bases: Sequence[str], data: ClickData, sizes: tuple[int, int], report: Report = lambda line: None
) -> dict[str, Any]:
    """Median milliseconds and ratios; `sizes` are candidates of the one request and repetitions.

    Raises ValueError where a graph answers differently than its module, StartupError where the server does.
    """
    candidates, repetitions = sizes
    rows: list[dict[str, Any]] = []
    for base in bases:
        with tempfile.TemporaryDirectory(prefix="recserve-paths-") as folder:
            repository = Path(folder) / "repository"
            report(f"exporting {base} and MATT at {', '.join(map(str, PATHS))} paths")
            publish(
                repository,
                models(base, PATHS, data),
                Source(kind="factory", name="recserve.studies.matt_cost.models:models"),
            )
            report(f"timing {base}")
            with TritonServer(repository, ServerOptions(log=Path(folder) / "log")) as server, server.client() as client:
                request = _request(data, candidates)
                calls = _graphs(repository, base, request) | _served(client, base, request)
                rows += _rows(base, measure(calls, repetitions))
    return {
        "scenario": "matt-cost",
        "kind": "matt-cost",
        "run": UNTRAINED,
        **circumstances(),
        "dataset": data.schema.dataset,
        "candidates": candidates,
        "repetitions": repetitions,
        "rows": rows,
        "ok": all(row["graph_ratio"] < row["paths"] + 1 for row in rows),
    }


def _request(data: ClickData, candidates: int) -> dict[str, np.ndarray]:
    items = np.random.default_rng(0).integers(1, len(data.interactions.items), (1, candidates))
    return {"user_id": np.array([[1]]), "candidates": items, "request_key": np.array([[1]])}


def _graphs(repository: Path, base: str, request: dict[str, np.ndarray]) -> Calls:
    """ONNX Runtime in this process, one thread: the base, each scorer, and each sampler."""
    asked = {name: request[name] for name in ("user_id", "candidates")}
    calls: Calls = {"graph base": graph_call(DirectModel.open(repository / base_name(base)), asked)}
    for paths in PATHS:
        name = matt_name(base, paths)
        sampler = Sampler.load(served_version(repository / f"{name}_sampler"))

        def sample(sampler: Sampler = sampler) -> dict[str, np.ndarray]:
            user, items, key = (request[one][0] for one in ("user_id", "candidates", "request_key"))
            masks, weights = sampler.sample(user, items, np.array([items.size]), key)
            return {"masks": masks.reshape(1, -1), "weights": weights.reshape(1, -1)}

        scorer = DirectModel.open(repository / f"{name}_scorer")
        calls[f"graph {paths}"] = graph_call(scorer, asked | sample())
        calls[f"sampler {paths}"] = sample
    return calls


def graph_call(
    model: DirectModel, request: dict[str, np.ndarray], outputs: Sequence[str] = ("scores",)
) -> Callable[[], object]:
    """One request to a graph in this process, packed once."""
    feeds = packing.pack(model.spec, [request])
    return lambda: model.session.run(list(outputs), feeds)


def _served(client: Admin, base: str, request: dict[str, np.ndarray]) -> Calls:
    asked = {name: request[name] for name in ("user_id", "candidates")}
    calls: Calls = {"served base": lambda: client.infer(base_name(base), asked)}
    for paths in PATHS:
        name = matt_name(base, paths)
        calls[f"served {paths}"] = lambda name=name: client.infer(name, request)
    return calls


def _rows(base: str, taken: dict[str, Percentiles]) -> list[dict[str, Any]]:
    p50 = {name: round(percentiles.p50, 4) for name, percentiles in taken.items()}
    return [
        {
            "base": base,
            "paths": paths,
            "base_ms": p50["graph base"],
            "graph_ms": p50[f"graph {paths}"],
            "graph_ratio": round(p50[f"graph {paths}"] / p50["graph base"], 3),
            "sampler_ms": p50[f"sampler {paths}"],
            "served_base_ms": p50["served base"],
            "served_ms": p50[f"served {paths}"],
            "served_ratio": round(p50[f"served {paths}"] / p50["served base"], 3),
        }
        for paths in PATHS
    ]
