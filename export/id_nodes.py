"""The maps of a signature's ids as nodes of its graph: `LabelEncoder`, which each ONNX Runtime of a server knows."""

import numpy as np
import onnx_ir as ir

from serving.ids import IdMap
from training.servable import Signature

DOMAIN, VERSION = "ai.onnx.ml", 4
"""A domain of its own: its version does not count against the newest opset of a server."""


def add_maps(model: ir.Model, signature: Signature) -> None:
    """Lets the graph take and give raw ids where the signature has a map; any other graph stays as it is."""
    graph = model.graph
    for place, spec in enumerate(signature.inputs):
        if spec.mapped is not None:
            graph.inputs[place] = _input(graph, graph.inputs[place], spec.mapped)
    for place, spec in enumerate(signature.outputs):
        if spec.mapped is not None:
            graph.outputs[place] = _output(graph, graph.outputs[place], spec.mapped)
    if any(spec.mapped is not None for spec in (*signature.inputs, *signature.outputs)):
        graph.opset_imports[DOMAIN] = VERSION


def map_bytes(signature: Signature) -> int:
    """Bytes that the maps add to a graph's file, about: attributes cannot be kept beside it."""
    maps = [spec.mapped for spec in (*signature.inputs, *signature.outputs) if spec.mapped is not None]
    return sum(_size(one) for one in maps)


def _size(one: IdMap) -> int:
    if one.kind == "int64":
        return 16 * len(one.ids)
    return sum(len(text.encode()) + 12 for text in one.ids)


def _input(graph: ir.Graph, dense: ir.Value, one: IdMap) -> ir.Value:
    """A new input of raw ids; what read `dense` reads the map's output."""
    raw = ir.Value(name=dense.name, type=_type(one), shape=dense.shape)
    node = _node(raw, _raw_ids(one), _dense_ids(one), ir.tensor(np.array([0])))
    mapped = node.outputs[0]
    mapped.type, mapped.shape = dense.type, dense.shape
    for user, place in tuple(dense.uses()):
        user.replace_input_with(place, mapped)
    for place, value in enumerate(graph.outputs):
        if value is dense:
            graph.outputs[place] = mapped
    graph.insert_before(graph[0], node) if len(graph) else graph.append(node)
    return raw


def _output(graph: ir.Graph, dense: ir.Value, one: IdMap) -> ir.Value:
    filling = _tensor(np.array([one.filling], one.ids.dtype))
    node = _node(dense, _dense_ids(one), _raw_ids(one), filling)
    graph.append(node)
    raw = node.outputs[0]
    raw.type, raw.shape = _type(one), dense.shape
    return raw


def _node(asked: ir.Value, keys: ir.TensorProtocol, values: ir.TensorProtocol, default: ir.TensorProtocol) -> ir.Node:
    attributes = [
        ir.AttrTensor("keys_tensor", keys),
        ir.AttrTensor("values_tensor", values),
        ir.AttrTensor("default_tensor", default),
    ]
    return ir.Node(DOMAIN, "LabelEncoder", [asked], attributes)


def _type(one: IdMap) -> ir.TensorType:
    return ir.TensorType(ir.DataType.INT64 if one.kind == "int64" else ir.DataType.STRING)


def _raw_ids(one: IdMap) -> ir.TensorProtocol:
    return _tensor(one.ids)


def _dense_ids(one: IdMap) -> ir.TensorProtocol:
    return ir.tensor(np.arange(1, len(one.ids) + 1))


def _tensor(ids: np.ndarray) -> ir.TensorProtocol:
    return (
        ir.tensor(ids)
        if ids.dtype == np.int64
        else ir.StringTensor([text.encode() for text in ids], shape=ir.Shape(ids.shape))
    )
