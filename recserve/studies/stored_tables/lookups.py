"""Look-ups in one large table, in each form in turn.

Legend: R rows, D width, I ids of a call.
"""

import statistics
import time
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from training.layers.stored import LEVELS, rounded, scales

SLOW = "int8, DequantizeLinear in front"
_SLOW_EVERY = 10
"""Turns between those of the slow one."""


class Plan(NamedTuple):
    """Sizes."""

    rows: int
    width: int
    ids: int
    turns: int


def timed(plan: Plan) -> list[dict[str, Any]]:
    """Median microseconds of a call by form, and their ratio to float32's; the first turn is not counted."""
    random = np.random.default_rng(0)
    norm = random.random((plan.rows, 1), np.float32) ** 4
    table = random.standard_normal((plan.rows, plan.width), np.float32) * norm
    sessions = {form: _session(model) for form, model in _graphs(table).items()}
    taken: dict[str, list[float]] = {form: [] for form in sessions}
    for turn in range(plan.turns + 1):
        ids = random.integers(0, plan.rows, plan.ids)
        for form, session in sessions.items():
            if form == SLOW and turn % _SLOW_EVERY:
                continue
            start = time.perf_counter()
            session.run(None, {"ids": ids})
            if turn:
                taken[form].append(1e6 * (time.perf_counter() - start))
    median = {form: statistics.median(values) for form, values in taken.items()}
    return [
        {"form": form, "median_us": round(one, 1), "of_float32": round(one / median["float32"], 2)}
        for form, one in median.items()
    ]


def _graphs(table: np.ndarray) -> dict[str, onnx.ModelProto]:
    kept = rounded(torch.from_numpy(table), "int8")
    scale = scales(kept)
    levels = (kept / scale).round().to(torch.int8).numpy()
    one = np.float32(np.abs(table).max() / LEVELS)
    flat = np.rint(table / one).astype(np.int8)
    gather, cast = _node("Gather", ["table", "ids"], "found"), _node("Cast", ["found"], "floats")
    return {
        "float32": _graph([_node("Gather", ["table", "ids"], "out")], table=table),
        "fp16": _graph([gather, _node("Cast", ["found"], "out")], table=table.astype(np.float16)),
        "int8": _graph(
            [gather, cast, _node("Gather", ["scale", "ids"], "scales"), _node("Mul", ["floats", "scales"], "out")],
            table=levels,
            scale=scale.numpy(),
        ),
        SLOW: _graph(
            [_node("DequantizeLinear", ["table", "scale"], "floats"), _node("Gather", ["floats", "ids"], "out")],
            table=flat,
            scale=np.array(one),
        ),
    }


def _node(operator: str, inputs: list[str], output: str) -> onnx.NodeProto:
    if operator == "Cast":
        return helper.make_node(operator, inputs, [output], to=TensorProto.FLOAT)
    return helper.make_node(operator, inputs, [output])


def _graph(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    width = weights["table"].shape[1]
    graph = helper.make_graph(
        nodes,
        "look_up",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["I"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["I", width])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
