"""The names of a graph's tensors: a signature's own, whatever the exporter called its values."""

from collections.abc import Iterator

import onnx_ir as ir

from export.traceable import PREFIX
from training.servable import Signature


def name_tensors(model: ir.Model, signature: Signature) -> None:
    """Gives inputs and outputs the names of the signature, and other values and nodes names of their own.

    An output that is an input, a weight, or another output as well becomes a copy of it, with a name of its own.
    """
    graph = model.graph
    weights = {value: name.removeprefix(PREFIX) for name, value in graph.initializers.items()}
    _own_outputs(graph)
    taken = {spec.name for spec in (*signature.inputs, *signature.outputs)}
    given = {*graph.inputs, *graph.outputs}
    for value in _values(graph):
        if value not in given:
            value.name = _free(weights.get(value, value.name or "value"), taken)
    for value, spec in zip(graph.inputs, signature.inputs, strict=True):
        value.name = spec.name
    for value, spec in zip(graph.outputs, signature.outputs, strict=True):
        value.name = spec.name
    for number, node in enumerate(ir.traversal.RecursiveGraphIterator(graph)):
        node.name = f"{node.op_type}_{number}"


def _own_outputs(graph: ir.Graph) -> None:
    seen: set[ir.Value] = set()
    for place, value in enumerate(graph.outputs):
        if value in seen or value.is_graph_input() or value.is_initializer():
            copy = ir.Node("", "Identity", [value])
            graph.append(copy)
            copy.outputs[0].shape, copy.outputs[0].type = value.shape, value.type
            graph.outputs[place] = copy.outputs[0]
        seen.add(graph.outputs[place])


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All values of the graph and its subgraphs, the weights first, so that they keep their names."""
    for inner in (graph, *graph.subgraphs()):
        yield from [*inner.initializers.values()]
    for inner in (graph, *graph.subgraphs()):
        yield from inner.inputs
        for node in inner:
            yield from node.outputs


def _free(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with a number behind it; remembered as taken."""
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}.{number}"
    taken.add(name)
    return name
