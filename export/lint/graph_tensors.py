"""Checks of a configuration against the ONNX graph that it serves, as NVIDIA's onnxruntime backend makes them."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import onnx
from tritonclient.grpc.model_config_pb2 import (
    DataType,  # pyright: ignore[reportAttributeAccessIssue]
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
    ModelSequenceBatching,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.entry import Entry, Finding
from export.lint.onnx_types import DATA_TYPES, axes, is_tensor

_CONTROL_TYPES = {"int32_false_true": "TYPE_INT32", "fp32_false_true": "TYPE_FP32", "bool_false_true": "TYPE_BOOL"}

Tensors = dict[str, onnx.TypeProto.Tensor]


class Pair(NamedTuple):
    """One configuration and one graph that it serves."""

    entry: Entry
    file: str
    config: ModelConfig
    graph_file: str
    inputs: Tensors
    """Those that every request needs."""
    defaults: Tensors
    """Inputs with a value in the graph, which a request may set."""
    outputs: Tensors

    @classmethod
    def of(cls, entry: Entry, file: str, graph_file: str) -> Self:
        """Of two files of the model's folder."""
        graph = entry.graphs[graph_file].graph
        given = {value.name for value in graph.initializer}
        inputs = {value.name: value.type.tensor_type for value in graph.input if is_tensor(value)}
        return cls(
            entry,
            file,
            entry.configs[file],
            graph_file,
            {name: tensor for name, tensor in inputs.items() if name not in given},
            {name: tensor for name, tensor in inputs.items() if name in given},
            {value.name: value.type.tensor_type for value in graph.output if is_tensor(value)},
        )

    def error(self, field: str, reason: str, remedy: str) -> Finding:
        return self.entry.error(self.file, field, f"{reason} ({self.graph_file})", remedy)


def pair_findings(pair: Pair) -> Iterator[Finding]:
    """Findings about one configuration and one graph."""
    yield from _names(pair)
    yield from _optional(pair)
    yield from _tensors(pair)
    yield from _packing(pair)
    yield from _sequences(pair)


def _names(pair: Pair) -> Iterator[Finding]:
    packed = [name for batch_input in pair.config.batch_input for name in batch_input.target_name]
    for name in sorted(set(packed) - set(pair.inputs)):
        remedy = f"use one of {sorted(pair.inputs)}"
        yield pair.error("batch_input.target_name", f"the graph has no input '{name}'", remedy)
    configured = {tensor.name for tensor in pair.config.input if tensor.name}
    for name in sorted(configured - set(pair.inputs) - set(pair.defaults)):
        yield pair.error(f"input.{name}", "the graph has no such input", f"use one of {sorted(pair.inputs)}")
    served = {*configured, *packed, *(name for name, _ in _controls(pair.config)), *_states(pair.config)}
    for name in sorted(set(pair.inputs) - served):
        reason = f"the graph's input '{name}' is not configured: the model does not load"
        yield pair.error("input", reason, "add it as an input or as the target of a batch_input")
    for tensor in pair.config.output:
        if tensor.name and tensor.name not in pair.outputs:
            remedy = f"use one of {sorted(pair.outputs)}"
            yield pair.error(f"output.{tensor.name}", "the graph has no such output", remedy)


def _states(config: ModelConfig) -> set[str]:
    return {state.input_name for state in config.sequence_batching.state}


def _controls(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Name and type of each input that the sequence batcher makes."""
    for control_input in config.sequence_batching.control_input:
        for control in control_input.control:
            if control.kind == ModelSequenceBatching.Control.CONTROL_SEQUENCE_CORRID:
                yield control_input.name, DataType.Name(control.data_type)
            for field, data_type in _CONTROL_TYPES.items():
                if getattr(control, field):
                    yield control_input.name, data_type


def _optional(pair: Pair) -> Iterator[Finding]:
    """NVIDIA's backend has optional those inputs that have a value in the graph, in models without a batch axis."""
    for tensor in pair.config.input:
        field = f"input.{tensor.name}.optional"
        if tensor.optional and pair.config.max_batch_size > 0:
            reason = "an optional input, in a model with a batch axis"
            yield pair.error(field, reason, "remove the flag, or set max_batch_size to 0")
        elif tensor.optional and tensor.name in pair.inputs:
            yield pair.error(field, "the graph has no value to put in its place", "remove the flag")
        elif not tensor.optional and tensor.name in pair.defaults:
            reason = "the graph has a value of its own for this input, so that it is optional"
            yield pair.error(field, reason, "remove the input, or set optional and max_batch_size 0")


def _tensors(pair: Pair) -> Iterator[Finding]:
    scattered = {name for batch_output in pair.config.batch_output for name in batch_output.target_name}
    for tensor in pair.config.input:
        if found := {**pair.inputs, **pair.defaults}.get(tensor.name):
            yield from _dtype(pair, f"input.{tensor.name}", tensor.data_type, found)
            if tensor.allow_ragged_batch:
                yield from _packed(pair, f"input.{tensor.name}", found)
            else:
                yield from _dims(pair, f"input.{tensor.name}", tensor, found)
    for tensor in pair.config.output:
        if found := pair.outputs.get(tensor.name):
            yield from _dtype(pair, f"output.{tensor.name}", tensor.data_type, found)
            if tensor.name not in scattered:
                yield from _dims(pair, f"output.{tensor.name}", tensor, found)


def _dtype(pair: Pair, field: str, configured: int, tensor: onnx.TypeProto.Tensor) -> Iterator[Finding]:
    name, found = DataType.Name(configured), DATA_TYPES.get(tensor.elem_type)
    # A type that is missing is a finding of its own.
    if found != name and configured != DataType.TYPE_INVALID:
        reason = f"{name}, but the graph has {onnx.TensorProto.DataType.Name(tensor.elem_type)}"
        yield pair.error(f"{field}.data_type", reason, f"set it to {found}" if found else "change the graph")


def _packed(pair: Pair, field: str, tensor: onnx.TypeProto.Tensor) -> Iterator[Finding]:
    if tensor.HasField("shape") and axes(tensor) != [-1]:
        reason = f"the server packs ragged requests along one axis, but the graph has {axes(tensor)}"
        yield pair.error(f"{field}.allow_ragged_batch", reason, "export the tensor with one dynamic axis")


def _dims(pair: Pair, field: str, configured: Any, tensor: onnx.TypeProto.Tensor) -> Iterator[Finding]:
    wanted = list(configured.reshape.shape if configured.HasField("reshape") else configured.dims)
    if not tensor.HasField("shape") or not configured.dims:
        return
    found, exact, field = axes(tensor), field.startswith("output"), f"{field}.dims"
    batched = pair.config.max_batch_size > 0
    if not found:
        if any(size != 1 for size in wanted):
            yield pair.error(field, f"{wanted}, but the graph has a scalar", "set dims to [ 1 ]")
    elif not batched:
        if not _fit(wanted, found, exact):
            yield pair.error(field, f"{wanted}, but the graph has {found}", f"set dims to {found}")
    elif found[0] != -1:
        reason = f"the graph's batch axis is frozen to {found[0]}, but max_batch_size is {pair.config.max_batch_size}"
        yield pair.error(field, reason, "export with a dynamic batch axis, or set max_batch_size to 0")
    elif _fit(wanted, found, exact):
        reason = f"the batch axis is given twice: {wanted}, and max_batch_size > 0 puts one more before them"
        yield pair.error(field, reason, f"leave it out: {wanted[1:]}")
    elif not _fit(wanted, found[1:], exact):
        reason = f"{wanted}, but the graph has {found[1:]} behind the batch axis"
        yield pair.error(field, reason, f"set dims to {found[1:]}")


def _fit(wanted: list[int], found: list[int], exact: bool) -> bool:
    """An input may have any size on an axis that the graph leaves open; an output must leave it open too."""
    if len(wanted) != len(found):
        return False
    return all(axis == size or (axis == -1 and not exact) for size, axis in zip(wanted, found, strict=True))


def _packing(pair: Pair) -> Iterator[Finding]:
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


def _sequences(pair: Pair) -> Iterator[Finding]:
    """What the sequence batcher adds to a request, and keeps of an answer."""
    start = 1 if pair.config.max_batch_size > 0 else 0
    for name, data_type in _controls(pair.config):
        field = f"sequence_batching.control_input.{name}"
        if (tensor := pair.inputs.get(name)) is None:
            yield pair.error(field, "the graph has no such input", f"use one of {sorted(pair.inputs)}")
        elif DATA_TYPES.get(tensor.elem_type) != data_type:
            reason = f"{data_type}, but the graph has {onnx.TensorProto.DataType.Name(tensor.elem_type)}"
            yield pair.error(field, reason, "use the values of the graph's type")
        elif tensor.HasField("shape") and axes(tensor)[start:] != [1]:
            yield pair.error(field, f"one element, but the graph has {axes(tensor)}", "export it with one element")
    for state in pair.config.sequence_batching.state:
        field = f"sequence_batching.state.{state.input_name}"
        for kind, name, tensors in (
            ("input", state.input_name, pair.inputs),
            ("output", state.output_name, pair.outputs),
        ):
            if name not in tensors:
                yield pair.error(field, f"the graph has no {kind} '{name}'", f"use one of {sorted(tensors)}")
            elif state.data_type and DATA_TYPES.get(tensors[name].elem_type) != DataType.Name(state.data_type):
                found = onnx.TensorProto.DataType.Name(tensors[name].elem_type)
                reason = f"{DataType.Name(state.data_type)}, but the graph's {kind} '{name}' is {found}"
                yield pair.error(field, reason, "use the graph's type")
                break
