"""Takes out reshapes that say nothing new: torch has its indices flat, and its exporter flattens them once more."""

import onnx_ir as ir

_INDICES = {None, ir.DataType.INT32, ir.DataType.INT64}
"""None: the exporter leaves out the type of what it casts for itself."""


def shorten(model: ir.Model) -> None:
    """A reshape of a reshape reads what the first one reads, and a vector is not made a vector.

    Only where the shape is constant and keeps no size of its input (0 in ONNX). And what is looked up by a flattened
    index, and then given the index' shape, is looked up by the index itself. What nobody reads afterwards stays, for
    others to remove.
    """
    for node in [node for node in model.graph if node.op_type == "Reshape"]:
        shape = _constant(node.inputs[1])
        if shape is None or 0 in shape:
            continue
        while (before := _producer(node)) is not None and before.op_type == "Reshape":
            node.replace_input_with(0, before.inputs[0])
        given, (found,) = node.inputs[0], node.outputs
        assert given is not None
        if shape == [-1] and given.shape is not None and len(given.shape) == 1 and not found.is_graph_output():
            found.replace_all_uses_with(given)
    for node in [node for node in model.graph if node.op_type == "Gather"]:
        _look_up(node)


def _look_up(node: ir.Node) -> None:
    table, index = node.inputs
    flat = None if index is None else index.producer()
    if flat is not None and flat.op_type == "Cast":
        # The exporter casts every index to int64, be it int64 already or int32, of which a look-up takes both.
        uncast = flat.inputs[0]
        flat = None if uncast is None or uncast.dtype not in _INDICES else uncast.producer()
    (found,) = node.outputs
    readers = [usage.node for usage in found.uses()]
    if flat is None or flat.op_type != "Reshape" or _constant(flat.inputs[1]) != [-1] or not readers:
        return
    given = flat.inputs[0]
    axis = node.attributes.get_int("axis", 0)
    if axis or table is None or table.shape is None or given is None or given.shape is None or found.is_graph_output():
        return
    wanted = [*given.shape, *table.shape[1:]]
    shaped = [reader.outputs[0] for reader in readers]
    if all(reader.op_type == "Reshape" for reader in readers) and all(
        one.shape is not None and [*one.shape] == wanted and not one.is_graph_output() for one in shaped
    ):
        node.replace_input_with(1, given)
        found.shape = ir.Shape(wanted)
        for one in shaped:
            one.replace_all_uses_with(found)


def _constant(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy().ravel().tolist()


def _producer(node: ir.Node) -> ir.Node | None:
    given = node.inputs[0]
    return None if given is None else given.producer()
