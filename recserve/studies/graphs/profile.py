"""One graph's run in ONNX Runtime: its nodes, their times, and the least work that it could be."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import onnx

from recserve.studies.profile import profiled
from serving.backends.onnxruntime import batching
from serving.direct import DirectModel

PRODUCTS = frozenset({"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulIntegerToFloat", "Conv", "GRU", "LSTM"})
"""Operators, after ORT's fusions, that are matrix products."""
_CONTROL = frozenset({"If", "Loop", "Scan"})
"""Whose time is that of the nodes inside."""

Feeds = Mapping[str, np.ndarray]


class Work(NamedTuple):
    """Of one run."""

    nodes: int
    """Nodes that ran."""
    seconds: dict[str, float]
    """By operator."""
    flops: float
    """Of products: twice the multiply-adds."""
    bytes: float
    """Inputs, outputs, weights but for tables, and the rows that are looked up in tables, each once."""

    @property
    def products(self) -> float:
        """Share of the nodes' time."""
        own = sum(took for name, took in self.seconds.items() if name in PRODUCTS)
        return own / sum(self.seconds.values())


def work_of(model: DirectModel, path: Path, feeds: Feeds, repetitions: int) -> Work:
    """By ONNX Runtime's profile of a session with the options of the served one."""
    found = profiled(path, feeds, batching.options_of(model.spec), repetitions)
    moved = sum(array.nbytes for array in (*feeds.values(), *found.outputs))
    return _work(found.events, repetitions, moved + _weights(path))


def _weights(path: Path) -> int:
    """Bytes of the weights that are no tables."""
    graph = onnx.load(str(path), load_external_data=False).graph
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    return sum(
        math.prod(one.dims) * onnx.helper.tensor_dtype_to_np_dtype(one.data_type).itemsize
        for one in graph.initializer
        if one.name not in tables
    )


def _work(events: Sequence[Mapping[str, Any]], repetitions: int, moved: int) -> Work:
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["args"]["op_name"] not in _CONTROL:
            runs.setdefault(event["name"], []).append(event)
    seconds: dict[str, float] = {}
    nodes, flops, moved_bytes = 0.0, 0.0, float(moved)
    for of_node in runs.values():
        told, each = of_node[-1]["args"], len(of_node) / repetitions
        operator = told["op_name"]
        seconds[operator] = seconds.get(operator, 0.0) + each * median(one["dur"] for one in of_node) / 1e6
        nodes += each
        if operator in PRODUCTS:
            flops += each * _flops(told)
        elif operator == "Gather" and float(told.get("parameter_size", 0)):
            moved_bytes += each * float(told.get("output_size", 0))
    return Work(round(nodes), seconds, flops, moved_bytes)


def _flops(told: Mapping[str, Any]) -> float:
    """Of a product, from the shapes of its inputs, of which a weight may be left out, and of its output."""
    shapes, found = ([next(iter(one.values())) for one in told[f"{kind}_type_shape"]] for kind in ("input", "output"))
    if told["op_name"] in ("GRU", "LSTM"):
        (steps, batch, _), weights, recurrent = shapes[:3]
        return 2.0 * steps * batch * sum(float(np.prod(one)) for one in (weights, recurrent))
    return 2.0 * float(np.prod(found[0])) * _inner(shapes, found[0])


def _inner(inputs: Sequence[Sequence[int]], out: Sequence[int]) -> float:
    """The axis that a product sums over: the left input's last one, or where it is turned the one before."""
    left = inputs[0]
    if len(inputs) > 1 and len(inputs[1]) > 1 and left[-1] == out[-2]:
        right = inputs[1][-2:]
        return float(left[-1] if left[-1] in right and left[-2] not in right else left[-2])
    return float(left[-1])


def timed(model: DirectModel, feeds: Feeds, repetitions: int) -> float:
    """Processor seconds of one run of the served session, the median; the first run is not counted."""
    taken = []
    for _ in range(repetitions + 1):
        start = time.thread_time()
        model.session.run(None, dict(feeds))
        taken.append(time.thread_time() - start)
    return median(taken[1:])
