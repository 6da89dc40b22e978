"""Tables of a graph that are made float32 before rows of them are looked up."""

from collections.abc import Iterator

import onnx

from export.lint.entry import Entry, Finding

_LOOK_UPS = ("Gather", "GatherElements", "GatherND")
_PASSED_ON = ("Cast", "Concat", "Expand", "Flatten", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""What a table may go through between there and the look-up; each makes all of it anew, and constants only once."""

_SMALL = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)

_REMEDY = "look the rows up first and make those float32, by Cast and Mul; recserve export --tables writes it so"


def table_findings(entry: Entry, file: str, graph: onnx.GraphProto) -> Iterator[Finding]:
    """Findings about the tables of one graph."""
    made = {name: node for node in graph.node for name in node.output}
    small = {one.name for one in graph.initializer if one.data_type in _SMALL}
    for node in graph.node:
        if node.op_type not in _LOOK_UPS:
            continue
        way = _way(node.input[0], made)
        if dequantised := next((one for one in way if one.op_type == "DequantizeLinear"), None):
            reason = (
                f"{node.op_type} looks up rows of what {dequantised.name or 'DequantizeLinear'} makes float32 as a "
                "whole, on each run: with 500,000 rows that is a hundred times as slow"
            )
            yield entry.error(file, node.name or node.output[0], reason, _REMEDY)
        elif any(one.op_type == "Cast" and one.input[0] in small for one in way):
            reason = f"{node.op_type} looks up rows of a small table that is made float32 as a whole when it is loaded"
            yield entry.warning(file, node.name or node.output[0], f"{reason}: in memory it saves nothing", _REMEDY)


def _way(name: str, made: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes through which a table came to a look-up, up to the one that is no passing on."""
    waiting, found = [name], []
    while waiting:
        node = made.get(waiting.pop())
        if node is None or any(node is one for one in found):
            continue
        found.append(node)
        if node.op_type in _PASSED_ON:
            waiting += node.input
    return found
