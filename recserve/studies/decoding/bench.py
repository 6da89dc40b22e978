"""One request decoded in one graph, through the server, and step by step around a graph, in one run.

Untrained weights and random ids on a catalogue of real size: no time depends on their values. Before anything is timed
all ways must have found the same beams.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from export.artifacts import Source
from export.onnx import export_onnx
from export.repository import publish
from export.run_alone import open_session
from kernels.consistency_pruning import Beams
from loadtest.latency import Percentiles, measure
from recserve.studies.decoding.naive import search, step_servable
from serving.backends import packing
from serving.direct import DirectModel
from serving.environment import UNTRAINED, circumstances
from serving.server import ServerOptions, TritonServer
from training.data.sequences import SequenceData
from training.data.synthetic_sequences import synthetic_sequences
from training.layers.served_lists import NO_SCORE
from training.system import Wanted
from training.systems.reg4rec import SYSTEM, Config, Reg4Rec
from training.systems.reg4rec.decode import Decoded
from training.systems.reg4rec.ranking import ranked
from training.tasks.next_item import NEXT_ITEM

BEAMS = (8, 32, 128)
THETA = 0.5
BAR_BEAMS, BAR = 32, 5.0
"""At this many beams the one graph is to be this many times as fast as the search that keeps nothing."""
_NUM_ITEMS = 12_101
"""Of Amazon Beauty."""
_SAME = 1e-4
Report = Callable[[str], None]
Calls = dict[str, Callable[[], object]]


def run(
    beams: Sequence[int],
    history: int,
    repetitions: int,
    report: Report = lambda line: None,
    num_items: int = _NUM_ITEMS,
) -> dict[str, Any]:
    """Median milliseconds of one request with `history` items, and ratios to the one graph.

    Raises ValueError where two ways find other beams.
    """
    catalogue = synthetic_sequences(num_users=500, num_items=num_items, num_clusters=num_items // 12)
    data = NEXT_ITEM.view(catalogue, Wanted(frozenset(), Config().max_length, {}))
    rows = []
    for count in beams:
        with tempfile.TemporaryDirectory(prefix="recserve-decoding-") as folder:
            report(f"exporting {count} beams")
            model = untrained(data, count)
            rows.append(_row(model, data, Path(folder), (history, repetitions), report))
    return {
        "scenario": "reg4rec-decoding",
        "kind": "reg4rec-decoding",
        "run": UNTRAINED,
        **circumstances(),
        "items": num_items,
        "history": history,
        "repetitions": repetitions,
        "rows": rows,
        "ok": all(row["per_path_ratio"] >= BAR for row in rows if row["beams"] == BAR_BEAMS),
    }


def untrained(data: SequenceData, beams: int) -> Reg4Rec:
    """REG4Rec with its defaults, random weights and random semantic ids."""
    config = Config(beams=beams, preference_epochs=0)
    random = torch.Generator().manual_seed(0)
    codes = torch.randint(0, config.shape.words, (len(data.categories), config.shape.codebooks), generator=random)
    torch.manual_seed(0)
    model = Reg4Rec(config, data.schema)
    model.prepare(replace(data, given={"codes": codes, "weights": torch.ones(codes.shape)}))
    return model.eval()


def _row(model: Reg4Rec, data: SequenceData, folder: Path, sizes: tuple[int, int], report: Report) -> dict[str, Any]:
    publish(
        folder / "repository",
        SYSTEM.release(model, model.config, data),
        Source(kind="factory", name="recserve.studies.decoding.bench:untrained"),
    )
    history, repetitions = sizes
    items = np.random.default_rng(0).integers(1, len(data.categories), history)
    request = {"history": items[None], "theta": np.full((1, 1), THETA, np.float32)}
    report(f"timing {model.config.beams} beams")
    with (
        torch.no_grad(),
        TritonServer(folder / "repository", ServerOptions(log=folder / "log")) as server,
        server.client() as client,
    ):
        graph = DirectModel.open(folder / "repository" / "reg4rec")
        feeds = packing.pack(graph.spec, [request])
        step = _step_session(model, folder / "step.onnx")
        searches = {name: search(model, step, shared=name == "shared") for name in ("per path", "shared")}
        for name, one in searches.items():
            _check(name, _listed(model, one(items, THETA), items), graph.run([request])[0]["scores"][0])
        calls: Calls = {
            "graph": lambda: graph.session.run(None, feeds),
            "served": lambda: client.infer("reg4rec", request),
            **{name: lambda one=one: one(items, THETA) for name, one in searches.items()},
        }
        return _figures(model.config.beams, measure(calls, repetitions, warm_up=5))


def _step_session(model: Reg4Rec, path: Path) -> ort.InferenceSession:
    export_onnx(step_servable(model), path)
    return open_session(path)


def _listed(model: Reg4Rec, beams: Beams, history: np.ndarray) -> np.ndarray:
    """Scores of the items that the beams lead to."""
    nothing = torch.zeros(beams.codes.shape, dtype=torch.int32)
    decoded = Decoded(beams.scores, beams.codes, nothing, nothing, nothing[:, 0, 0], nothing[:, 0, 0])
    return ranked(decoded, model.catalogue(), torch.from_numpy(history)[None], model.config.beams).scores[0].numpy()


def _check(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Raises ValueError where a search leads to another list than the graph."""
    gaps = np.abs(np.maximum(found, NO_SCORE) - expected)
    if gaps.max() > _SAME:
        place = int(gaps.argmax())
        raise ValueError(f"the search '{name}' scores place {place} {found[place]}, the graph {expected[place]}")


def _figures(beams: int, taken: dict[str, Percentiles]) -> dict[str, Any]:
    p50 = {name: round(percentiles.p50, 3) for name, percentiles in taken.items()}
    return {
        "beams": beams,
        "graph_ms": p50["graph"],
        "served_ms": p50["served"],
        "shared_ms": p50["shared"],
        "per_path_ms": p50["per path"],
        "shared_ratio": round(p50["shared"] / p50["graph"], 2),
        "per_path_ratio": round(p50["per path"] / p50["graph"], 2),
        "served_ratio": round(p50["per path"] / p50["served"], 2),
    }
