"""Export of a servable to ONNX.

A graph that passes here loads in every supported tritonserver, has exactly the declared symbolic axes, and holds
no randomness.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass
from onnxscript.optimizer import fold_constants, remove_unused_nodes

from export import eager, reshapes, second_pass, stored
from export.id_nodes import add_maps, map_bytes
from export.names import name_tensors
from export.recurrent import shapes_alone
from export.refusals import reason
from export.signature import axis_sizes, check_signature, graph_axes
from export.traceable import Traceable, as_written, dynamic_shapes
from kernels.bodies import DOMAIN
from kernels.functions import attach
from kernels.quiet import quiet_exporter
from training.servable import KernelServable, Packed, Servable, Signature, TensorSpec


class Limits(NamedTuple):
    """The newest ONNX that a server reads."""

    ir: int
    opset: int


SERVERS = {"2.51": Limits(10, 21), "2.59": Limits(10, 22), "2.66": Limits(11, 24)}
"""tritonserver version -> what the ONNX Runtime inside its container loads. Versions between: the one before."""

OLDEST_SERVER = "2.51"
"""NVIDIA container 24.10, the oldest that an exported graph must load in."""

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_LARGEST_FILE = 2**31 - 2**24
"""Bytes of weights that one protobuf holds, with room for the graph itself."""


def export_onnx(servable: Servable, path: Path) -> None:
    """Writes `servable.module` to `path`: one file, or beside it `<path>.data` where the weights pass 2 GiB.

    Raises ValueError that names the tensor or node when the graph would break a rule of the module's docstring.
    """
    check_servable(servable)
    own = map_bytes(servable)
    if own > _LARGEST_FILE:
        raise ValueError(
            f"model '{servable.name}': its maps of ids take {own} bytes, and a graph holds {_LARGEST_FILE}"
        )
    with quiet_exporter():
        program = _translated(servable, distinct_example(servable))
        _simplify(program.model)
        _count_axes_from_the_front(program.model)
        _drop_unused_weights(program.model)
        if servable.tables is not None:
            stored.store(program.model, servable.tables)
        add_maps(program.model, servable)
        name_tensors(program.model, servable)
        program.save(path, external_data=_weight_bytes(program.model) + own > _LARGEST_FILE)
    _attach_functions(path)
    check_graph(servable, path)


def check_servable(servable: Servable | KernelServable) -> None:
    """Raises ValueError for a signature that tritonserver could not serve and for a module in training mode."""
    check_signature(servable)
    if servable.module.training:
        raise ValueError(f"model '{servable.name}' is in training mode; call .eval() on its module first")


def check_graph(signature: Signature, path: Path) -> None:
    """Raises ValueError unless the ONNX file at `path` is valid, loads in the oldest server and fits the signature."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"model '{signature.name}': {path.name} is not valid ONNX: {error}") from error
    model = onnx.load(str(path), load_external_data=False)
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    allowed = SERVERS[OLDEST_SERVER]
    if model.ir_version > allowed.ir or opset > allowed.opset:
        found = f"IR {model.ir_version} and opset {opset}"
        raise ValueError(
            f"model '{signature.name}' has {found}; tritonserver {OLDEST_SERVER} reads at most "
            f"IR {allowed.ir} and opset {allowed.opset}"
        )
    for node in random_nodes(model):
        raise ValueError(
            f"model '{signature.name}': node '{node.name}' ({node.op_type}) is random; make the noise an input"
        )
    _check_tensors(signature, "input", signature.inputs, list(model.graph.input))
    _check_tensors(signature, "output", signature.outputs, list(model.graph.output))


def random_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Nodes, also of functions and subgraphs, whose output differs from run to run."""
    pending = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while pending:
        node = pending.pop()
        # A third input of Dropout is its training mode; exporters leave it out for inference.
        if node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]):
            yield node
        for attribute in node.attribute:
            pending.extend(attribute.g.node)
            pending.extend(inner for graph in attribute.graphs for inner in graph.node)


def _translated(servable: Servable, tensors: Packed) -> torch.onnx.ONNXProgram:
    try:
        with as_written(servable.module), shapes_alone(), second_pass.once():
            program = torch.onnx.export(
                Traceable(servable),
                tensors,
                dynamo=True,
                verbose=False,
                optimize=False,
                dynamic_shapes=dynamic_shapes(servable),
            )
    except Exception as error:
        raise ValueError(f"model '{servable.name}': its forward cannot be exported to ONNX: {reason(error)}") from error
    assert program is not None
    return program


def distinct_example(servable: Servable) -> Packed:
    """An example whose symbolic axes differ in size, so that the exporter cannot take one axis for another."""
    tried = []
    for batch_size in (3, 4, 5, 7):
        tensors = eager.example(servable, batch_size, 0)
        sizes = axis_sizes(servable, servable.inputs, tensors)
        if min(sizes.values()) > 1 and len(set(sizes.values())) == len(sizes):
            return tensors
        tried.append(sizes)
    raise ValueError(
        f"model '{servable.name}': the symbolic axes must have different sizes above 1 in one of the examples of "
        f"3, 4, 5 or 7 requests, found {tried}; vary the sizes in `example`"
    )


def _simplify(model: ir.Model) -> None:
    """Computes what is constant, and what is computed twice only once.

    torch's own optimisation also tries a hundred patterns on every node, which ONNX Runtime does anyway when it loads,
    and which takes minutes for a decoder's unrolled steps.
    """
    fold_constants(model)
    CommonSubexpressionEliminationPass()(model)
    reshapes.shorten(model)
    remove_unused_nodes(model)


def _count_axes_from_the_front(model: ir.Model) -> None:
    """Rewrites constant negative axes of reductions.

    On an input without elements ORT (1.31 still) answers with the shape of the input when the axis is negative,
    and that is what a request without candidates sends.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if not node.op_type.startswith("Reduce") or len(node.inputs) < 2:
            continue
        data, axes = node.inputs[:2]
        if data is None or data.shape is None or axes is None or axes.const_value is None:
            continue
        positive = ir.tensor(axes.const_value.numpy() % len(data.shape), name=f"{node.name}_axes")
        initializer = ir.Value(name=positive.name, const_value=positive)
        initializer.dtype, initializer.shape = positive.dtype, ir.Shape(axes.const_value.numpy().shape)
        model.graph.register_initializer(initializer)
        node.replace_input_with(1, initializer)


def _drop_unused_weights(model: ir.Model) -> None:
    """ONNX Runtime would warn of each of them wherever the graph is loaded."""
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]


def _attach_functions(path: Path) -> None:
    """Gives the hot ops' nodes their meaning in standard operators; a file without such nodes stays as it is."""
    model = onnx.load(str(path), load_external_data=False)
    if any(node.domain == DOMAIN for node in model.graph.node):
        attach(model)
        onnx.save(model, str(path))


def _check_tensors(
    signature: Signature, kind: str, specs: tuple[TensorSpec, ...], found: list[onnx.ValueInfoProto]
) -> None:
    names = [value.name for value in found]
    if names != [spec.name for spec in specs]:
        raise ValueError(f"model '{signature.name}': the graph's {kind}s are {names}, not {[s.name for s in specs]}")
    for spec, value in zip(specs, found, strict=True):
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name.replace("object", "string")
        axes = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
        if dtype == spec.client_dtype and axes == graph_axes(spec):
            continue
        frozen = axes and graph_axes(spec)[0] != axes[0] and isinstance(axes[0], int)
        hint = "; its first axis is frozen: in forward use x.shape[0], not len(x) or int(...)" if frozen else ""
        raise ValueError(
            f"model '{signature.name}', {kind} '{spec.name}': the graph has {dtype} {list(axes)}, the signature says "
            f"{spec.client_dtype} {list(graph_axes(spec))}{hint}"
        )


def _weight_bytes(model: ir.Model) -> int:
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
