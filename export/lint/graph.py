"""Checks of a configuration against the ONNX graphs that it serves."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx
from onnx import TensorProto
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.lint.entry import Entry, Finding, is_onnx
from export.onnx import OLDEST_SERVER, SERVERS, random_nodes

_ELEMENT_TYPES = {
    "TYPE_BOOL": TensorProto.BOOL,
    "TYPE_UINT8": TensorProto.UINT8,
    "TYPE_UINT16": TensorProto.UINT16,
    "TYPE_UINT32": TensorProto.UINT32,
    "TYPE_UINT64": TensorProto.UINT64,
    "TYPE_INT8": TensorProto.INT8,
    "TYPE_INT16": TensorProto.INT16,
    "TYPE_INT32": TensorProto.INT32,
    "TYPE_INT64": TensorProto.INT64,
    "TYPE_FP16": TensorProto.FLOAT16,
    "TYPE_FP32": TensorProto.FLOAT,
    "TYPE_FP64": TensorProto.DOUBLE,
    "TYPE_STRING": TensorProto.STRING,
    "TYPE_BF16": TensorProto.BFLOAT16,
}

_SAVED_BY_ORT = "com.microsoft.nchwc"
"""ONNX Runtime declares this domain in the graphs that it writes after optimising them; exporters do not."""


class _Pair(NamedTuple):
    """One configuration and one graph that it serves."""

    entry: Entry
    file: str
    config: ModelConfig
    graph_file: str
    inputs: dict[str, onnx.TypeProto.Tensor]
    outputs: dict[str, onnx.TypeProto.Tensor]

    def error(self, field: str, reason: str, remedy: str) -> Finding:
        return self.entry.error(self.file, field, f"{reason} ({self.graph_file})", remedy)


def graph_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the graphs of one model, by themselves and against each configuration."""
    served = {file: config for file, config in entry.configs.items() if is_onnx(config)}
    for graph_file, model in entry.graphs.items():
        yield from _age(entry, graph_file, model)
        yield from _optimised(entry, graph_file, model)
        for node in random_nodes(model):
            reason = f"{node.op_type} draws random numbers: the same request gets different answers"
            yield entry.error(graph_file, node.name, reason, "make the noise an input")
        given = {value.name for value in model.graph.initializer}
        inputs = {value.name: value.type.tensor_type for value in model.graph.input if value.name not in given}
        outputs = {value.name: value.type.tensor_type for value in model.graph.output}
        for file, config in served.items():
            pair = _Pair(entry, file, config, graph_file, inputs, outputs)
            yield from _names(pair)
            yield from _tensors(pair)
            yield from _packing(pair)


def _age(entry: Entry, file: str, model: onnx.ModelProto) -> Iterator[Finding]:
    limits = SERVERS[OLDEST_SERVER]
    opset = max((imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")), default=0)
    for field, found, allowed in (("ir_version", model.ir_version, limits.ir), ("opset", opset, limits.opset)):
        if found > allowed:
            able = [name for name, limit in SERVERS.items() if found <= getattr(limit, field.removesuffix("_version"))]
            since = f"it loads from {able[0]} on" if able else "no server that we know loads it"
            reason = f"{found}, but tritonserver {OLDEST_SERVER} reads at most {allowed}; {since}"
            yield entry.error(file, field, reason, f"export with {field} {allowed}")


def _optimised(entry: Entry, file: str, model: onnx.ModelProto) -> Iterator[Finding]:
    fused = sorted({node.op_type for node in model.graph.node if node.domain.startswith("com.microsoft")})
    if fused or any(imported.domain == _SAVED_BY_ORT for imported in model.opset_import):
        reason = f"optimised offline by ONNX Runtime (fused nodes: {fused}): it is tied to one kind of machine"
        yield entry.warning(file, "", reason, "ship the exported graph; the server optimises it when it loads")


def _names(pair: _Pair) -> Iterator[Finding]:
    packed = [name for batch_input in pair.config.batch_input for name in batch_input.target_name]
    for name in sorted(set(packed) - set(pair.inputs)):
        remedy = f"use one of {sorted(pair.inputs)}"
        yield pair.error("batch_input.target_name", f"the graph has no input '{name}'", remedy)
    configured = [tensor.name for tensor in pair.config.input]
    for name in sorted(set(configured) - set(pair.inputs)):
        yield pair.error(f"input.{name}", "the graph has no such input", f"use one of {sorted(pair.inputs)}")
    for name in sorted(set(pair.inputs) - set(configured) - set(packed)):
        reason = f"the graph's input '{name}' is not configured: every request would fail"
        yield pair.error("input", reason, "add it as an input or as the target of a batch_input")
    for tensor in pair.config.output:
        if tensor.name not in pair.outputs:
            remedy = f"use one of {sorted(pair.outputs)}"
            yield pair.error(f"output.{tensor.name}", "the graph has no such output", remedy)


def _tensors(pair: _Pair) -> Iterator[Finding]:
    scattered = {name for batch_output in pair.config.batch_output for name in batch_output.target_name}
    for kind, configured, graph in (
        ("input", pair.config.input, pair.inputs),
        ("output", pair.config.output, pair.outputs),
    ):
        for tensor in configured:
            if tensor.name in graph:
                is_packed = tensor.allow_ragged_batch if kind == "input" else tensor.name in scattered
                field = f"{kind}.{tensor.name}"
                yield from _dtype(pair, field, tensor.data_type, graph[tensor.name])
                yield from _dims(pair, field, _wanted_dims(tensor), graph[tensor.name], is_packed=is_packed)


def _dtype(pair: _Pair, field: str, configured: int, tensor: onnx.TypeProto.Tensor) -> Iterator[Finding]:
    name = DataType.Name(configured)
    if _ELEMENT_TYPES.get(name) != tensor.elem_type:
        able = [known for known, element in _ELEMENT_TYPES.items() if element == tensor.elem_type]
        reason = f"{name}, but the graph has {TensorProto.DataType.Name(tensor.elem_type)}"
        yield pair.error(field, reason, f"set it to {able[0]}" if able else "change the graph")


def _wanted_dims(tensor: Any) -> list[int]:
    """What the graph gets of a request beside the batch axis, for a ModelInput or ModelOutput."""
    return list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)


def _axes(tensor: onnx.TypeProto.Tensor) -> list[int]:
    """The graph's axes, -1 for those that are not fixed."""
    return [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim]


def _dims(
    pair: _Pair, field: str, wanted: list[int], tensor: onnx.TypeProto.Tensor, is_packed: bool
) -> Iterator[Finding]:
    if not tensor.HasField("shape"):
        return
    axes = _axes(tensor)
    if is_packed:
        if axes != [-1]:
            reason = f"the server packs ragged requests along one axis, but the graph has {axes}"
            yield pair.error(field, reason, "export the tensor with one dynamic axis")
        return
    if pair.config.max_batch_size == 0:
        if not _fit(wanted, axes):
            yield pair.error(field, f"dims are {wanted}, but the graph has {axes}", "copy them from the graph")
        return
    if len(wanted) == len(axes) and _fit(wanted, axes):
        reason = f"the batch axis is given twice: dims are {wanted}, and max_batch_size > 0 puts one more before them"
        yield pair.error(field, reason, f"leave it out: dims {wanted[1:]}")
    elif not _fit(wanted, axes[1:]):
        reason = f"dims are {wanted}, but the graph has {axes[1:]} behind the batch axis"
        yield pair.error(field, reason, f"set dims to {axes[1:]}")
    elif axes[:1] != [-1]:
        reason = f"the graph's batch axis is frozen to {axes[:1]}, but max_batch_size is {pair.config.max_batch_size}"
        yield pair.error(field, reason, "export with a dynamic batch axis, or set max_batch_size to 0")


def _fit(wanted: list[int], axes: list[int]) -> bool:
    """Whether each axis that the graph fixes is configured with the same size."""
    return len(wanted) == len(axes) and all(axis in (-1, size) for size, axis in zip(wanted, axes, strict=True))


def _packing(pair: _Pair) -> Iterator[Finding]:
    """Counts reach the graph with the right type, and packed outputs are cut into requests again."""
    for batch_input in pair.config.batch_input:
        for name in batch_input.target_name:
            if name in pair.inputs:
                yield from _dtype(pair, f"batch_input.{name}", batch_input.data_type, pair.inputs[name])
    ragged = {tensor.name for tensor in pair.config.input if tensor.allow_ragged_batch}
    symbols = {_first_symbol(pair.inputs[name]) for name in ragged & set(pair.inputs)} - {""}
    scattered = {name for batch_output in pair.config.batch_output for name in batch_output.target_name}
    for tensor in pair.config.output:
        symbol = _first_symbol(pair.outputs[tensor.name]) if tensor.name in pair.outputs else ""
        if symbol in symbols and tensor.name not in scattered:
            reason = f"the graph packs this output along '{symbol}', but no batch_output cuts it into requests"
            yield pair.error(f"output.{tensor.name}", reason, "add a batch_output BATCH_SCATTER_WITH_INPUT_SHAPE")


def _first_symbol(tensor: onnx.TypeProto.Tensor) -> str:
    return tensor.shape.dim[0].dim_param if tensor.shape.dim else ""
