"""What CORP does as theta grows: how much it prunes, what that does to the hit rate, and what a request costs."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session
from loadtest.latency import measure
from training.data.sequences import SequenceData
from training.loop import predict
from training.servable import Servable
from training.system import Split
from training.systems.reg4rec import Reg4Rec
from training.systems.reg4rec.evaluation import Found
from training.systems.reg4rec.evaluation import measure as decode_all
from training.systems.reg4rec.servables import packed, servables

THETAS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


class Point(NamedTuple):
    """One theta."""

    theta: float
    pruned_share: float
    """Of the candidates that were checked."""
    recall10: float
    ndcg10: float
    consistency: float
    """Mean share of adjacent steps of the best path that agree in category."""
    p50_ms: float
    """Of one request in the graph, one thread."""


def sweep(model: Reg4Rec, data: SequenceData, thetas: Sequence[float], users: int, repetitions: int) -> list[Point]:
    """Quality over the same random `users` of the test part at each theta; latency over the requests of 16 of them."""
    some = Some(data.test, np.sort(np.random.default_rng(0).permutation(len(data.test))[:users]))
    times = _times(model, data, thetas, repetitions)
    return [_point(theta, decode_all(model, predict, some, theta), times[theta]) for theta in thetas]


class Some:
    """Some samples of a part. Implements `training.system.Split`."""

    def __init__(self, split: Split, rows: np.ndarray) -> None:
        self._split, self._rows = split, rows

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: np.ndarray) -> NamedTuple:
        return self._split.batch(self._rows[rows])

    def cost(self) -> np.ndarray:
        return self._split.cost()[self._rows]


def _point(theta: float, found: Found, p50_ms: float) -> Point:
    quality = found.quality
    return Point(theta, found.pruned_share, quality["recall10"], quality["ndcg10"], found.consistency, round(p50_ms, 3))


def _times(model: Reg4Rec, data: SequenceData, thetas: Sequence[float], repetitions: int) -> dict[float, float]:
    """Median milliseconds by theta; all thetas in turn, so that each meets the machine alike."""
    (graph,) = servables("reg4rec", model, model.config, data)
    assert isinstance(graph, Servable)
    histories = [data.sequences[row] for row in np.random.default_rng(0).choice(len(data.sequences), 16)]
    with tempfile.TemporaryDirectory(prefix="recserve-theta-") as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(graph, path)
        session = open_session(path)
        calls = {
            f"{theta} {number}": partial(run_session, session, graph, packed([history], np.array([theta])))
            for theta in thetas
            for number, history in enumerate(histories)
        }
        taken = measure(calls, repetitions, warm_up=2)
    return {
        theta: float(np.median([taken[f"{theta} {number}"].p50 for number in range(len(histories))]))
        for theta in thetas
    }
