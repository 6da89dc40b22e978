"""Tiny ONNX models and their configurations, for tests against a real server."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2 as proto

from serving import golden, manifest

OPSET = 20
IR_VERSION = 10
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 20000 default_queue_policy { max_queue_size: 64 } }"

SCALED = f"""
name: "scaled" backend: "onnxruntime" max_batch_size: 8 {BATCHING}
input {{ name: "x" data_type: TYPE_FP32 dims: [3] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [3] }}
output {{ name: "z" data_type: TYPE_FP32 dims: [3] }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""

SCORER = f"""
name: "scorer" backend: "onnxruntime" max_batch_size: 16 {BATCHING}
input {{ name: "candidates" data_type: TYPE_INT64 dims: [-1] allow_ragged_batch: true }}
input {{ name: "weight" data_type: TYPE_FP32 dims: [1] }}
output {{ name: "scores" data_type: TYPE_FP32 dims: [-1] }}
batch_input {{
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ends" data_type: TYPE_INT32 source_input: "candidates"
}}
batch_output {{ target_name: "scores" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "candidates" }}
parameters {{ key: "minimum.candidates" value {{ string_value: "0" }} }}
parameters {{ key: "maximum.candidates" value {{ string_value: "999" }} }}
parameters {{ key: "max_elements.candidates" value {{ string_value: "100" }} }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""

COUNTS = f"""
name: "counts" backend: "onnxruntime" max_batch_size: 16 {BATCHING}
input {{ name: "items" data_type: TYPE_INT64 dims: [-1] allow_ragged_batch: true }}
output {{ name: "counts" data_type: TYPE_FP32 dims: [4] }}
batch_input {{ kind: BATCH_ELEMENT_COUNT target_name: "own" data_type: TYPE_INT32 source_input: "items" }}
batch_input {{
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ends" data_type: TYPE_FP32 source_input: "items"
}}
batch_input {{
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "bounds" data_type: TYPE_INT32 source_input: "items"
}}
batch_input {{
  kind: BATCH_MAX_ELEMENT_COUNT_AS_SHAPE target_name: "longest" data_type: TYPE_FP32 source_input: "items"
}}
instance_group {{ kind: KIND_CPU count: 1 }}
"""

LOOKUP = f"""
name: "lookup" backend: "onnxruntime" max_batch_size: 8 {BATCHING}
input {{ name: "id" data_type: TYPE_INT64 dims: [1] }}
output {{ name: "value" data_type: TYPE_FP32 dims: [1] }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""

SLOW = """
name: "slow" backend: "onnxruntime" max_batch_size: 1
dynamic_batching { default_queue_policy { max_queue_size: 1 timeout_action: REJECT } }
input { name: "steps" data_type: TYPE_INT64 dims: [1] }
output { name: "total" data_type: TYPE_FP32 dims: [1] }
instance_group { kind: KIND_CPU count: 1 }
"""

SLOW_ENSEMBLE = """
name: "slow_ensemble" platform: "ensemble" max_batch_size: 1
input { name: "steps" data_type: TYPE_INT64 dims: [1] }
output { name: "total" data_type: TYPE_FP32 dims: [1] }
ensemble_scheduling {
  step {
    model_name: "slow" model_version: -1
    input_map { key: "steps" value: "steps" }
    output_map { key: "total" value: "total" }
  }
}
"""


def publish(
    repository: Path, config: str, model: onnx.ModelProto | None = None, goldens: Sequence[golden.Golden] = ()
) -> Path:
    """Writes one model entry, version 1, and returns its directory."""
    message = text_format.Parse(config, proto.ModelConfig())  # pyright: ignore[reportAttributeAccessIssue]
    entry = repository / message.name
    (entry / "1").mkdir(parents=True)
    (entry / "configs").mkdir()
    (entry / "configs" / "cpu.pbtxt").write_text(text_format.MessageToString(message))
    if model is not None:
        onnx.save(model, entry / "1" / "model.onnx")
    if goldens:
        golden.write(entry / "1" / "golden.safetensors", goldens)
    seal(entry / "1")
    return entry


def seal(version: Path) -> None:
    """Writes the manifest of a version as it now is."""
    manifest.write(version, {})


def publish_scaled(repository: Path, factor: float = 2.0) -> Path:
    """The smallest model with right goldens for a factor of 2."""
    rows = [np.full((1, 3), value, np.float32) for value in (-1.0, 0.0, 0.5)]
    goldens = [golden.Golden(inputs={"x": x}, outputs={"y": 2 * x + 1, "z": -x}) for x in rows]
    return publish(repository, SCALED, scaled(factor), goldens)


def publish_slow(repository: Path) -> Path:
    """A model that computes for as long as a request asks, with its golden."""
    steps, total = np.array([[3]]), np.array([[3.0]], np.float32)
    return publish(repository, SLOW, slow(), [golden.Golden(inputs={"steps": steps}, outputs={"total": total})])


def publish_all(repository: Path) -> None:
    """Every model of this file."""
    publish_scaled(repository)
    publish_slow(repository)
    candidates, weight = np.array([[4, 5]]), np.array([[0.5]], np.float32)
    answer = {"scores": np.array([[2.0, 2.5]], np.float32)}
    request = {"candidates": candidates, "weight": weight}
    publish(repository, SCORER, scorer(), [golden.Golden(inputs=request, outputs=answer)])
    counted = {"counts": np.array([[2.0, 2.0, 0.0, 2.0]], np.float32)}
    publish(repository, COUNTS, counts(), [golden.Golden(inputs={"items": candidates}, outputs=counted)])
    value = {"value": np.array([[1.5]], np.float32)}
    publish(repository, LOOKUP, lookup(), [golden.Golden(inputs={"id": np.array([[3]])}, outputs=value)])
    one_step = golden.Golden(inputs={"steps": np.array([[1]])}, outputs={"total": np.ones((1, 1), np.float32)})
    publish(repository, SLOW_ENSEMBLE, None, [one_step])


def scaled(factor: float = 2.0) -> onnx.ModelProto:
    """x [B, 3] -> y = factor * x + 1 and z = -x."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["product"]),
        helper.make_node("Add", ["product", "one"], ["y"]),
        helper.make_node("Neg", ["x"], ["z"]),
    ]
    constants = {"factor": np.float32(factor), "one": np.float32(1)}
    return _model(nodes, {"x": (np.float32, ["B", 3])}, {"y": ["B", 3], "z": ["B", 3]}, constants)


def scorer() -> onnx.ModelProto:
    """candidates [C], weight [B, 1], ends [B] -> scores [C] = weight of the candidate's request times its id."""
    nodes = [
        helper.make_node("Shape", ["candidates"], ["shape"]),
        helper.make_node("Squeeze", ["shape"], ["length"]),
        helper.make_node("Range", ["zero", "length", "step"], ["places"]),
        helper.make_node("Unsqueeze", ["places", "last"], ["column"]),
        helper.make_node("Cast", ["ends"], ["ends64"], to=TensorProto.INT64),
        helper.make_node("LessOrEqual", ["ends64", "column"], ["is_before"]),
        helper.make_node("Cast", ["is_before"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["ones", "last"], ["row"], keepdims=0),
        helper.make_node("Flatten", ["weight"], ["weights"]),
        helper.make_node("Squeeze", ["weights", "last"], ["flat"]),
        helper.make_node("Gather", ["flat", "row"], ["own"]),
        helper.make_node("Cast", ["candidates"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["own", "ids"], ["scores"]),
    ]
    inputs = {"candidates": (np.int64, ["C"]), "weight": (np.float32, ["B", 1]), "ends": (np.int32, ["B"])}
    constants = {"zero": np.int64(0), "step": np.int64(1), "last": np.array([1])}
    return _model(nodes, inputs, {"scores": ["C"]}, constants)


def counts() -> onnx.ModelProto:
    """items [C] and one batch input of each kind -> counts [B, 4] = own, end, start, longest of the batch."""
    nodes = [
        helper.make_node("Cast", ["own"], ["own32"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["bounds"], ["bounds32"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["bounds32", "zero", "minus_one"], ["starts"]),
        helper.make_node("Shape", ["longest"], ["length"]),
        helper.make_node("Cast", ["length"], ["length32"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["own"], ["rows"]),
        helper.make_node("Expand", ["length32", "rows"], ["lengths"]),
        helper.make_node("Shape", ["items"], ["_used"]),
        *(
            helper.make_node("Unsqueeze", [name, "last"], [f"{name}_column"])
            for name in ("own32", "ends", "starts", "lengths")
        ),
        helper.make_node("Concat", [f"{n}_column" for n in ("own32", "ends", "starts", "lengths")], ["counts"], axis=1),
    ]
    inputs = {
        "items": (np.int64, ["C"]),
        "own": (np.int32, ["B"]),
        "ends": (np.float32, ["B"]),
        "bounds": (np.int32, ["E"]),
        "longest": (np.float32, ["L"]),
    }
    constants = {"zero": np.array([0]), "minus_one": np.array([-1]), "last": np.array([1])}
    return _model(nodes, inputs, {"counts": ["B", 4]}, constants)


def lookup() -> onnx.ModelProto:
    """id [B, 1] -> value [B, 1] = id / 2; the run fails for an id above 9."""
    nodes = [helper.make_node("Gather", ["table", "id"], ["value"])]
    return _model(nodes, {"id": (np.int64, ["B", 1])}, {"value": ["B", 1]}, {"table": np.arange(10, dtype="f4") / 2})


def slow() -> onnx.ModelProto:
    """steps [1, 1] -> total [1, 1] = steps, counted one by one."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "one"], ["after"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1, 1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1, 1]),
        ],
    )
    nodes = [
        helper.make_node("Squeeze", ["steps"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "start"], ["total"], body=body),
    ]
    constants = {"start": np.zeros((1, 1), np.float32), "one": np.ones((1, 1), np.float32)}
    return _model(nodes, {"steps": (np.int64, [1, 1])}, {"total": [1, 1]}, constants)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[type, list[str | int]]],
    outputs: dict[str, list[str | int]],
    constants: Mapping[str, np.ndarray | np.generic],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
