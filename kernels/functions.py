"""Gives the nodes of the hot ops in an ONNX model their meaning in standard operators.

A runtime without our operators runs these functions; an operator registered under the same name takes the node.
"""

from collections.abc import Iterator

import onnx

from kernels.bodies import DOMAIN
from kernels.registry import OPS


def attach(model: onnx.ModelProto) -> None:
    """Appends the functions of all `recserve::` nodes in `model`, and the domain, in place.

    A model without such nodes stays as it is. Raises ValueError for a node that is none of the hot ops.
    """
    builders = {name: build for op in OPS for name, build in op.functions.items()}
    present = {function.name for function in model.functions if function.domain == DOMAIN}
    for name in sorted({node.op_type for node in _nodes(model.graph) if node.domain == DOMAIN} - present):
        if name not in builders:
            raise ValueError(f"node {DOMAIN}::{name} is none of the hot ops {sorted(builders)}")
        model.functions.append(builders[name]())
    if model.functions and all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g)
            for inner in attribute.graphs:
                yield from _nodes(inner)
