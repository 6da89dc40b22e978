"""Small models that together ask a backend for all that a configuration of `onnxruntime` can ask for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.watch.reference import Binned, Reference
from tests.serving import models

DTYPES = {
    "bool": "TYPE_BOOL",
    "int8": "TYPE_INT8",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "text": "TYPE_STRING",
}
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 2000 }"
_CPU = "instance_group { kind: KIND_CPU count: 1 }"
Values = Mapping[str, tuple[str, Sequence[str | int]]]
"""Name -> element type and shape."""


def parameters(**values: object) -> str:
    """In a configuration; two underscores stand for a dot."""
    said = ((key.replace("__", "."), value) for key, value in values.items())
    return " ".join(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in said)


def tensor(side: str, name: str, dtype: str, dims: str, more: str = "") -> str:
    """An input or output in a configuration."""
    return f'{side} {{ name: "{name}" data_type: {DTYPES[dtype]} dims: [{dims}] {more} }}\n'


def graph(nodes: Sequence[onnx.NodeProto], inputs: Values, outputs: Values, **constants: np.ndarray) -> onnx.ModelProto:
    """A model of these nodes."""
    built = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, _element(dtype), shape) for name, (dtype, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, _element(dtype), shape) for name, (dtype, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", models.OPSET)]
    return helper.make_model(built, opset_imports=opset, ir_version=models.IR_VERSION)


def _element(dtype: str) -> int:
    return TensorProto.STRING if dtype == "text" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def publish_all(repository: Path) -> None:
    """All of them."""
    for publish in (_types, _places, _agreeing, _shaped, _unbatched, _counts, _cut, _lookup, _faulty):
        publish(repository)


def _types(repository: Path) -> None:
    """Each element type [B, 2] as it came, with bounds on all numbers."""
    config = f'name: "types" backend: "onnxruntime" max_batch_size: 8 {BATCHING} {_CPU}\n'
    for name in DTYPES:
        config += tensor("input", f"x_{name}", name, "2") + tensor("output", f"y_{name}", name, "2")
        if name not in ("bool", "text"):
            config += parameters(**{f"minimum__x_{name}": -5, f"maximum__x_{name}": 100})
    config += parameters(minimum__x_bool=1, max_bytes__x_text=8, intra_op_thread_count=2, inter_op_thread_count=2)
    config += parameters(execution_mode=1) + " optimization { graph { level: 1 } }"
    nodes = [helper.make_node("Identity", [f"x_{name}"], [f"y_{name}"]) for name in DTYPES]
    inputs = {f"x_{name}": (name, ["B", 2]) for name in DTYPES}
    models.publish(repository, config, graph(nodes, inputs, {f"y_{name}": (name, ["B", 2]) for name in DTYPES}))


def _places(repository: Path) -> None:
    """Bounds of each place, with and without numbers that may be missing, and a scalar bound that float32 rounds."""
    config = f'name: "places" backend: "onnxruntime" max_batch_size: 4 {BATCHING} {_CPU}\n'
    for name in ("strict", "loose"):
        config += tensor("input", name, "float32", "3")
    config += tensor("input", "large", "float32", "1") + tensor("output", "sum", "float32", "3")
    for name in ("strict", "loose"):
        config += parameters(**{f"minimum__{name}": "0,,-1", f"maximum__{name}": ",5,16777217"})
    config += parameters(missing__loose="nan", minimum__large=-16777219, maximum__large=16777219)
    nodes = [helper.make_node("Sum", ["strict", "loose", "large"], ["sum"])]
    inputs = {"strict": ("float32", ["B", 3]), "loose": ("float32", ["B", 3]), "large": ("float32", ["B", 1])}
    models.publish(repository, config, graph(nodes, inputs, {"sum": ("float32", ["B", 3])}))


def _agreeing(repository: Path) -> None:
    """Two inputs that are as long as each other, of bounded length; one is text."""
    config = f'name: "agreeing" backend: "onnxruntime" max_batch_size: 4 {BATCHING} {_CPU}\n'
    config += tensor("input", "items", "int64", "-1") + tensor("input", "names", "text", "-1")
    config += tensor("output", "items_out", "int64", "-1") + tensor("output", "names_out", "text", "-1")
    config += parameters(axes__items="L", axes__names="L", least__L=2, greatest__L=5, max_elements__names=12)
    config += parameters(min_elements__names=1)
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("items", "names")]
    inputs = {"items": ("int64", ["B", "L"]), "names": ("text", ["B", "L"])}
    outputs = {"items_out": ("int64", ["B", "L"]), "names_out": ("text", ["B", "L"])}
    models.publish(repository, config, graph(nodes, inputs, outputs))


def _shaped(repository: Path) -> None:
    """Shapes of the graph that are not the client's, on both sides; and a reference of its scores."""
    config = f'name: "shaped" backend: "onnxruntime" max_batch_size: 4 {BATCHING} {_CPU}\n'
    config += tensor("input", "x", "float32", "4", "reshape { shape: [2, 2] }")
    config += tensor("output", "y", "float32", "4", "reshape { shape: [2, 2] }")
    config += tensor("output", "total", "float32", "1", "reshape { shape: [] }")
    nodes = [
        helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1]),
        helper.make_node("ReduceSum", ["x", "axes"], ["total"], keepdims=0),
    ]
    outputs = {"y": ("float32", ["B", 2, 2]), "total": ("float32", ["B"])}
    model = graph(nodes, {"x": ("float32", ["B", 2, 2])}, outputs, axes=np.array([1, 2]))
    version = models.publish(repository, config, model) / "1"
    scores = Binned(edges=(-0.5, 1.0, 5.25), counts=(1, 2, 3, 0))
    sizes = Binned(edges=(), counts=(6,))
    Reference(source="example", requests=6, output="y", scores=scores, sizes=sizes, unknown={}).write(version)
    models.seal(version)


def _unbatched(repository: Path) -> None:
    """No batch axis: any two lengths that agree, a reshape with an axis left open, and a scalar."""
    config = f'name: "unbatched" backend: "onnxruntime" {_CPU}\n'
    config += tensor("input", "x", "float64", "-1") + tensor(
        "input", "w", "float64", "-1", "reshape { shape: [-1, 1] }"
    )
    config += tensor("output", "outer", "float64", "-1, -1") + tensor("output", "size", "int64", "1")
    config += parameters(axes__x="N", axes__w="N", greatest__N=6, maximum__x=10)
    nodes = [helper.make_node("Mul", ["x", "w"], ["outer"]), helper.make_node("Shape", ["x"], ["size"])]
    inputs = {"x": ("float64", ["N"]), "w": ("float64", ["N", 1])}
    outputs = {"outer": ("float64", ["N", "N"]), "size": ("int64", [1])}
    models.publish(repository, config, graph(nodes, inputs, outputs))


def _counts(repository: Path) -> None:
    """Every kind of batch input."""
    models.publish(repository, models.COUNTS, models.counts())


def _cut(repository: Path) -> None:
    """A ragged input scattered back, text beside it, and how many requests shared the run, of 100 elements at most."""
    config = f'name: "cut" backend: "onnxruntime" max_batch_size: 16 {BATCHING} {_CPU}\n'
    config += tensor("input", "items", "int64", "-1", "allow_ragged_batch: true")
    config += tensor("input", "names", "text", "-1", "allow_ragged_batch: true") + tensor("input", "w", "float16", "1")
    config += tensor("output", "items_out", "int64", "-1") + tensor("output", "names_out", "text", "-1")
    config += tensor("output", "shared", "int64", "1")
    for source in ("items", "names"):
        config += f"""batch_output {{
            target_name: "{source}_out" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "{source}" }}\n"""
    config += 'batch_input { target_name: "own" data_type: TYPE_FP32 source_input: "items" }\n'
    config += parameters(run_elements=100, minimum__items=0, max_elements__items=150, max_backlog_ms=250)
    nodes = [
        *(helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("items", "names")),
        helper.make_node("Shape", ["own"], ["requests"]),
        helper.make_node("Cast", ["own"], ["zeros_of"], to=TensorProto.INT64),
        helper.make_node("Sub", ["zeros_of", "zeros_of"], ["zeros"]),
        helper.make_node("Add", ["zeros", "requests"], ["each"]),
        helper.make_node("Unsqueeze", ["each", "one"], ["shared"]),
        helper.make_node("Identity", ["w"], ["unused"]),
    ]
    inputs = {
        "items": ("int64", ["C"]),
        "names": ("text", ["D"]),
        "w": ("float16", ["B", 1]),
        "own": ("float32", ["B"]),
    }
    outputs = {"items_out": ("int64", ["C"]), "names_out": ("text", ["D"]), "shared": ("int64", ["B", 1])}
    models.publish(repository, config, graph(nodes, inputs, outputs, one=np.array([1])))


def _lookup(repository: Path) -> None:
    """A run that one request breaks."""
    models.publish(repository, models.LOOKUP, models.lookup())


def _faulty(repository: Path) -> None:
    """Outputs that do not fit: too few rows where a request says so, and a shape that no reshape makes of them."""
    config = f'name: "faulty" backend: "onnxruntime" max_batch_size: 4 {BATCHING} {_CPU}\n'
    config += tensor("input", "x", "float32", "3") + tensor("input", "rows", "int64", "1")
    config += tensor("output", "y", "float32", "3") + tensor("output", "z", "float32", "3", "reshape { shape: [3, 1] }")
    nodes = [
        helper.make_node("Squeeze", ["rows"], ["number"]),
        helper.make_node("Unsqueeze", ["number", "zero"], ["end"]),
        helper.make_node("Slice", ["x", "zero", "end", "zero"], ["y"]),
        helper.make_node("Gather", ["x", "columns"], ["z"], axis=1),
    ]
    inputs = {"x": ("float32", ["B", 3]), "rows": ("int64", ["B", 1])}
    outputs = {"y": ("float32", ["R", 3]), "z": ("float32", ["B", "K"])}
    constants = {"zero": np.array([0]), "columns": np.array([0, 1])}
    models.publish(repository, config, graph(nodes, inputs, outputs, **constants))


def publish_aborting(repository: Path) -> None:
    """A GRU over a length that is open: ONNX Runtime aborts the process where it is 0."""
    config = f'name: "recurrent" backend: "onnxruntime" max_batch_size: 4 {BATCHING} {_CPU}\n'
    config += tensor("input", "x", "float32", "-1") + tensor("output", "y", "float32", "2")
    nodes = [
        helper.make_node("Unsqueeze", ["x", "two"], ["wide"]),
        helper.make_node("Transpose", ["wide"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["sequence", "w", "r"], ["", "last"], hidden_size=2),
        helper.make_node("Squeeze", ["last", "zero"], ["y"]),
    ]
    weights = {"w": np.full((1, 6, 1), 0.5, np.float32), "r": np.full((1, 6, 2), 0.25, np.float32)}
    constants = {"zero": np.array([0]), "two": np.array([2]), **weights}
    model = graph(nodes, {"x": ("float32", ["B", "L"])}, {"y": ("float32", ["B", 2])}, **constants)
    models.publish(repository, config, model)
