"""torch's exporter without its second trace of a graph that does not need it.

The exporter traces a program twice: once to find its operators, and again to take those apart that ONNX has no form of.
The second time is a third of an export. Here a graph in which only operators of `_OTHERS` would be taken apart has them
replaced in place, and sizes said that shapes leave open, and is not traced again; any other one is, as before. Our
design.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.onnx._internal.exporter import _decomp, _fx_passes
from torch.onnx._internal.exporter._registration import ONNXRegistry

_ATEN = torch.ops.aten
_twice = _fx_passes.decompose_with_registry


class _Form(NamedTuple):
    """What an operator is replaced by."""

    target: torch._ops.OpOverload
    arguments: tuple[Any, ...]
    named: dict[str, Any] = {}  # noqa: RUF012 - never changed


_OTHERS: dict[object, Callable[..., _Form]] = {
    _ATEN.__and__.Tensor: lambda one, two: _Form(_ATEN.bitwise_and.Tensor, (one, two)),
    _ATEN.__or__.Tensor: lambda one, two: _Form(_ATEN.bitwise_or.Tensor, (one, two)),
    _ATEN.rsub.Scalar: lambda one, two: _Form(_ATEN.sub.Tensor, (two, one)),
    _ATEN.square.default: lambda one: _Form(_ATEN.mul.Tensor, (one, one)),
    _ATEN.numpy_T.default: lambda one: _Form(_ATEN.permute.default, (one, [*reversed(range(one.meta["val"].ndim))])),
    _ATEN.to.dtype: lambda one, dtype: _Form(_ATEN._to_copy.default, (one,), {"dtype": dtype}),
}
"""Operator -> another one of the same result, for the first one's arguments."""
_REMOVED = {
    _ATEN._assert_async.default,
    _ATEN._assert_async.msg,
    _ATEN._assert_scalar.default,
    _ATEN._assert_tensor_metadata.default,
}
"""What the exporter takes out afterwards."""

_WORSE = {_ATEN.flatten.using_ints, _ATEN.unflatten.int}
"""What the exporter translates, but better in its parts."""
_SHAPED = {_ATEN.view.default, _ATEN.reshape.default}
"""What may leave a size to be found, which ONNX Runtime cannot where another one is 0."""


@contextmanager
def once() -> Iterator[None]:
    """Within it, torch's exporter traces a graph again only where it has to."""
    _fx_passes.decompose_with_registry = _decomposed
    try:
        yield
    finally:
        _fx_passes.decompose_with_registry = _twice


def _decomposed(program: ExportedProgram, registry: ONNXRegistry) -> ExportedProgram:
    known = {*_decomp.get_onnx_implemented_overloads(registry)}
    graphs = [module for module in program.graph_module.modules() if isinstance(module, GraphModule)]
    nodes = [node for graph in graphs for node in graph.graph.nodes if node.op == "call_function"]
    if not all(_stays(node, known) for node in nodes):
        return _twice(program, registry)
    for node in nodes:
        _replace(node)
    for graph in graphs:
        graph.recompile()
    return program


def _stays(node: Node, known: Set[object]) -> bool:
    """Whether the operator can be translated as it is, or as another one."""
    target = node.target
    if target in _SHAPED and _left_open(node) is not None:
        return isinstance(_found(node), int)
    if target in _OTHERS:
        return not node.kwargs and len(node.args) == len(signature(_OTHERS[target]).parameters)
    if isinstance(target, torch._ops.OpOverload):
        return target in _REMOVED or (target in known and target not in _WORSE and not target._schema.is_mutable)
    # What is left are sums of sizes and parts of tuples.
    return not isinstance(target, torch._ops.HigherOrderOperator)


def _left_open(node: Node) -> int | None:
    """Which of the sizes of a shape is -1."""
    sizes = node.args[1]
    assert isinstance(sizes, Sequence)
    return next((place for place, size in enumerate(sizes) if size == -1), None)


def _found(node: Node) -> Any:
    """What that size is."""
    place = _left_open(node)
    assert place is not None
    return node.meta["val"].shape[place]


def _replace(node: Node) -> None:
    if node.target in _SHAPED and (place := _left_open(node)) is not None:
        given, sizes = node.args
        assert isinstance(sizes, Sequence)
        node.args = (given, [_found(node) if at == place else size for at, size in enumerate(sizes)])
    if node.target not in _OTHERS:
        return
    form = _OTHERS[node.target](*node.args)
    given = node.args[0]
    assert isinstance(given, Node)
    same = node.target == _ATEN.to.dtype and node.meta["val"].dtype == given.meta["val"].dtype
    if same and all(user.op != "output" for user in node.users):
        node.replace_all_uses_with(given)
        node.graph.erase_node(node)
    else:
        node.target, node.args, node.kwargs = form
