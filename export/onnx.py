"""Export of a servable to ONNX, and the check that ONNX Runtime answers what the eager module answers.

A graph that passes here loads in every supported tritonserver, has exactly the declared symbolic axes, and holds
no randomness.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from export.goldens import cut_tensors, pack
from export.signature import BATCH, as_packed, axis_sizes, check_signature, graph_axes
from kernels.bodies import DOMAIN
from kernels.functions import attach
from kernels.quiet import quiet_exporter
from serving import golden
from training.system import KernelServable, Packed, Servable, Signature, TensorSpec


class Limits(NamedTuple):
    """The newest ONNX that a server reads."""

    ir: int
    opset: int


SERVERS = {"2.51": Limits(10, 21), "2.59": Limits(10, 22), "2.66": Limits(11, 24)}
"""tritonserver version -> what the ONNX Runtime inside its container loads. Versions between: the one before."""

OLDEST_SERVER = "2.51"
"""NVIDIA container 24.10, the oldest that an exported graph must load in."""

TOLERANCE = 1e-5
"""Largest |served - eager| / max(1, |eager|) of an fp32 export."""

Run = Callable[[Packed], dict[str, np.ndarray]]
"""Inputs in the signature's order -> outputs by name."""

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_LARGEST_FILE = 2**31 - 2**24
"""Bytes of weights that one protobuf holds, with room for the graph itself."""


def export_onnx(servable: Servable, path: Path) -> None:
    """Writes `servable.module` to `path`: one file, or beside it `<path>.data` where the weights pass 2 GiB.

    Raises ValueError that names the tensor or node when the graph would break a rule of the module's docstring.
    """
    check_servable(servable)
    with quiet_exporter():
        program = _translated(servable, distinct_example(servable))
        _simplify(program.model)
        _free_names(program.model)
        _count_axes_from_the_front(program.model)
        program.save(path, external_data=_weight_bytes(servable.module) > _LARGEST_FILE)
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


def open_session(path: Path) -> ort.InferenceSession:
    """A session on the CPU with one thread, so that sums are taken in the order in which one instance takes them."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: ort.InferenceSession, signature: Signature, tensors: Packed) -> dict[str, np.ndarray]:
    """Outputs by name for inputs in the signature's order."""
    feeds = {spec.name: tensor.numpy() for spec, tensor in zip(signature.inputs, tensors, strict=True)}
    names = [spec.name for spec in signature.outputs]
    return {name: np.asarray(array) for name, array in zip(names, session.run(names, feeds), strict=True)}


def verify_onnx(servable: Servable, path: Path) -> float:
    """The worst gap of ORT on the CPU against the eager module: batches of 1, 2, 7 and the largest, and each of
    16 requests alone, among them the empty ones.

    Raises ValueError with output, index and both values where the gap exceeds TOLERANCE.
    """
    session = open_session(path)
    return verify(servable, lambda tensors: run_session(session, servable, tensors), "ONNX Runtime")


def verify(signature: Signature, run: Run, runner: str) -> float:
    """The worst gap of `run` against the eager answers, on the same requests as in `verify_onnx`.

    Raises ValueError with output, index and both values where the gap exceeds TOLERANCE.
    """
    limit, worst = signature.max_batch_size, 0.0
    for batch_size in sorted({size for size in (1, 2, 7, limit) if size <= limit}):
        tensors = signature.example(batch_size, batch_size)
        worst = max(worst, _gap(signature, run, runner, tensors, f"batch of {batch_size}"))
    inputs = signature.example(16, 0)
    for number, request in enumerate(cut_tensors(signature, signature.inputs, inputs, inputs)):
        alone = pack(signature, [request])
        worst = max(worst, _gap(signature, run, runner, alone, f"request {number} of 16 alone"))
    return worst


def _gap(signature: Signature, run: Run, runner: str, tensors: Packed, case: str) -> float:
    names = [spec.name for spec in signature.outputs]
    with torch.no_grad():
        eager = [tensor.numpy() for tensor in as_packed(signature.eager(*tensors))]
    expected = dict(zip(names, eager, strict=True))
    actual = run(tensors)
    gap = golden.compare(expected, actual, TOLERANCE)
    if gap.ok:
        return gap.relative
    shown = [
        f"{side} {array[gap.index]!r}" if gap.index else f"{side} {array.dtype} {list(array.shape)}"
        for side, array in (("eager", expected[gap.output]), (runner, actual[gap.output]))
    ]
    raise ValueError(
        f"model '{signature.name}', {case}: output '{gap.output}'{list(gap.index)} differs: {', '.join(shown)} "
        f"(gap {gap.relative:.3g}, allowed {TOLERANCE:g})"
    )


def _translated(servable: Servable, tensors: Packed) -> torch.onnx.ONNXProgram:
    try:
        program = torch.onnx.export(
            servable.module,
            tensors,
            dynamo=True,
            verbose=False,
            optimize=False,
            input_names=[spec.name for spec in servable.inputs],
            output_names=[spec.name for spec in servable.outputs],
            dynamic_shapes=dynamic_shapes(servable),
        )
    except OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause).strip().split("\n")[0]
        raise ValueError(f"model '{servable.name}': its forward cannot be exported to ONNX: {reason}") from error
    assert program is not None
    return program


def distinct_example(servable: Servable) -> Packed:
    """An example whose symbolic axes differ in size, so that the exporter cannot take one axis for another."""
    tried = []
    for batch_size in (3, 4, 5, 7):
        tensors = servable.example(batch_size, 0)
        sizes = axis_sizes(servable, servable.inputs, tensors)
        if min(sizes.values()) > 1 and len(set(sizes.values())) == len(sizes):
            return tensors
        tried.append(sizes)
    raise ValueError(
        f"model '{servable.name}': the symbolic axes must have different sizes above 1 in one of the examples of "
        f"3, 4, 5 or 7 requests, found {tried}; vary the sizes in `example`"
    )


def dynamic_shapes(servable: Servable) -> tuple[dict[int, torch.export.Dim], ...]:
    """Per input the axes that an exported program leaves open: the symbolic ones, the batch of at least 1."""
    names = {axis for spec in servable.inputs for axis in graph_axes(spec) if isinstance(axis, str)}
    dims = {name: torch.export.Dim(name, min=1 if name == BATCH else 0) for name in names}
    return tuple(
        {number: dims[axis] for number, axis in enumerate(graph_axes(spec)) if isinstance(axis, str)}
        for spec in servable.inputs
    )


def _simplify(model: ir.Model) -> None:
    """Computes what is constant, and what is computed twice only once.

    torch's own optimisation also tries a hundred patterns on every node, which ONNX Runtime does anyway when it loads,
    and which takes minutes for a decoder's unrolled steps.
    """
    fold_constants(model)
    CommonSubexpressionEliminationPass()(model)
    remove_unused_nodes(model)


def _free_names(model: ir.Model) -> None:
    """Renames weights that have the name of an input or output, such as a buffer `stamp` behind an output `stamp`."""
    taken = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    for value in list(model.graph.initializers.values()):
        if value.name in taken and not value.is_graph_output():
            value.name = f"weights.{value.name}"


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
        if axes.name is not None and axes.name in model.graph.initializers and not axes.uses():
            del model.graph.initializers[axes.name]


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
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        axes = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
        if dtype == spec.dtype and axes == graph_axes(spec):
            continue
        frozen = axes and graph_axes(spec)[0] != axes[0] and isinstance(axes[0], int)
        hint = "; its first axis is frozen: in forward use x.shape[0], not len(x) or int(...)" if frozen else ""
        raise ValueError(
            f"model '{signature.name}', {kind} '{spec.name}': the graph has {dtype} {list(axes)}, the signature says "
            f"{spec.dtype} {list(graph_axes(spec))}{hint}"
        )


def _weight_bytes(module: nn.Module) -> int:
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
