"""Cases of ONNX graphs against configurations.

The wheel has no C++ onnxruntime backend. What fits is read in its source (onnxruntime_backend, ValidateInputs and
ValidateOutputs in src/onnxruntime.cc, CompareDimsSupported in src/onnxruntime_utils.cc); whether the graph itself
loads, ONNX Runtime says.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.export.lint_cases.case import IDENTITY, Case, Judge

_FLOAT = TensorProto.FLOAT
Axes = Sequence[int | str]


def value(name: str, axes: Axes | None = ("B", 4), dtype: int = _FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, axes)


def make_graph(
    inputs: Sequence[onnx.ValueInfoProto] = (value("x"),),
    outputs: Sequence[onnx.ValueInfoProto] = (value("y"),),
    nodes: Sequence[onnx.NodeProto] = (helper.make_node("Identity", ["x"], ["y"]),),
    weights: Sequence[onnx.TensorProto] = (),
    ir_version: int = 10,
    opset: int = 21,
) -> bytes:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(weights))
    domains = {"": opset, **{node.domain: 1 for node in nodes if node.domain}}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, ir_version=ir_version, opset_imports=opsets).SerializeToString()


def case(name: str, field: str | None, graph: bytes, judge: Judge = "source", **changes: str) -> Case:
    return changed(name, field, graph, changes, judge)


def changed(name: str, field: str | None, graph: bytes, changes: Mapping[str, str], judge: Judge = "source") -> Case:
    return Case(
        name=f"graph_{name}",
        field=field,
        base={**IDENTITY, "backend": 'backend: "onnxruntime"'},
        changes=changes,
        files={"1/model.onnx": graph},
        judge=judge,
    )


def _tensors(kind: str, *texts: str) -> str:
    return f"{kind} [{', '.join(f'{{ {text} }}' for text in texts)}]"


_X, _Y = "name: 'x' data_type: TYPE_FP32 dims: [ 4 ]", "name: 'y' data_type: TYPE_FP32 dims: [ 4 ]"
_IN, _OUT = _tensors("input", _X), _tensors("output", _Y)


def x_input(dims: str, more: str = "", dtype: str = "FP32") -> str:
    return _tensors("input", f"name: 'x' data_type: TYPE_{dtype} dims: [ {dims} ] {more}")


def y_output(dims: str, more: str = "", dtype: str = "FP32") -> str:
    return _tensors("output", f"name: 'y' data_type: TYPE_{dtype} dims: [ {dims} ] {more}")


def cases() -> Iterator[Case]:
    """All cases of this file."""
    yield from _dims_cases()
    yield from _shape_cases()
    yield from _type_cases()
    yield from _name_cases()
    yield from _completion_cases()
    yield from _sequence_cases()


def _io(axes: Axes | None, out: Axes | None = None, dtype: int = _FLOAT) -> bytes:
    return make_graph([value("x", axes, dtype)], [value("y", axes if out is None else out, dtype)])


def _dims_cases() -> Iterator[Case]:
    fixed, deep = _io((3, 4)), _io(("B", "L", 4))
    yield case("plain", None, make_graph())
    yield case("fixed_batch", "input.x.dims", make_graph([value("x", (3, 4))]))
    yield case("fixed_batch_of_output", "output.y.dims", make_graph(outputs=[value("y", (3, 4))]))
    yield case("fixed_unbatched", None, fixed, max_batch_size="", input=x_input("3, 4"), output=y_output("3, 4"))
    yield case(
        "batch_axis_as_dims", None, make_graph(), max_batch_size="", input=x_input("-1, 4"), output=y_output("-1, 4")
    )
    yield case(
        "fixed_size_of_open_input",
        None,
        make_graph(),
        max_batch_size="",
        input=x_input("2, 4"),
        output=y_output("-1, 4"),
    )
    yield case("open_input", None, deep, input=x_input("-1, 4"), output=y_output("-1, 4"))
    yield case("input_narrowed", None, deep, input=x_input("7, 4"), output=y_output("-1, 4"))
    yield case("output_narrowed", "output.y.dims", deep, input=x_input("-1, 4"), output=y_output("7, 4"))
    yield case("output_widened", "output.y.dims", make_graph(), output=y_output("-1"))
    yield case("input_widened", "input.x.dims", make_graph(), input=x_input("-1"))
    yield case("input_longer", "input.x.dims", make_graph(), input=x_input("5"))
    yield case("one_axis_more", "input.x.dims", make_graph(), input=x_input("1, 4"))
    yield case("one_axis_less", "input.x.dims", deep, output=y_output("-1, 4"))
    yield case("batch_axis_twice", "input.x.dims", make_graph(), input=x_input("-1, 4"))


def _shape_cases() -> Iterator[Case]:
    yield case("reshape", None, _io(("B", 2, 2), ("B", 4)), input=x_input("4", "reshape { shape: [ 2, 2 ] }"))
    yield case("reshape_missed", "input.x.dims", _io(("B", 2, 2), ("B", 4)))
    yield case("reshape_to_batch", None, _io(("B",), ("B", 4)), input=x_input("1", "reshape { shape: [ ] }"))
    yield case("batch_alone", "input.x.dims", _io(("B",), ("B", 4)), input=x_input("1"))
    yield case("reshaped_output", None, _io(("B", 4), ("B",)), output=y_output("1", "reshape { shape: [ ] }"))
    yield case("scalar", None, _io(()), max_batch_size="", input=x_input("1"), output=y_output("1"))
    yield case("scalar_ones", None, _io(()), max_batch_size="", input=x_input("1, 1"), output=y_output("1"))
    yield case("scalar_two", "input.x.dims", _io(()), max_batch_size="", input=x_input("2"), output=y_output("1"))
    yield case(
        "scalar_output", "output.y.dims", _io((1,), ()), max_batch_size="", input=x_input("1"), output=y_output("-1")
    )
    yield case(
        "ragged", None, _io(("N",)), input=x_input("-1", "allow_ragged_batch: true"), output=y_output("1"), b=_SCATTER
    )
    yield case(
        "ragged_two_axes",
        "input.x.allow_ragged_batch",
        _io(("N", 4)),
        input=x_input("-1", "allow_ragged_batch: true"),
        b=_SCATTER,
    )
    yield case(
        "ragged_wide_output",
        None,
        _io(("N",), ("N", 64)),
        input=x_input("-1", "allow_ragged_batch: true"),
        output=y_output("-1, 64"),
        b=_SCATTER,
    )
    yield case(
        "ragged_output_of_two_open_axes",
        "batch_output.y.source_input",
        _io(("N",), ("N", "M")),
        input=x_input("-1", "allow_ragged_batch: true"),
        output=y_output("-1, -1"),
        b=_SCATTER,
    )
    yield case(
        "ragged_output_of_a_later_axis",
        "batch_output.y.source_input",
        _io(("N",), (64, "N")),
        input=x_input("-1", "allow_ragged_batch: true"),
        output=y_output("64, -1"),
        b=_SCATTER,
    )
    outputs = _tensors("output", *(_Y.replace("'y'", f"'{name}'").replace("4", "-1") for name in ("y", "z")))
    both = [helper.make_node("Identity", ["x"], [name]) for name in ("y", "z")]
    two = make_graph([value("x", ("N",))], [value("y", ("N",)), value("z", ("N",))], both)
    together = "batch_output [{ target_name: [ 'y', 'z' ] source_input: 'x' }]"
    each = f"{_SCATTER[:-1]}, {{ target_name: 'z' source_input: 'x' }}]"
    ragged = x_input("-1", "allow_ragged_batch: true")
    yield case("ragged_outputs_together", "batch_output.y.target_name", two, input=ragged, output=outputs, b=together)
    yield case("ragged_outputs_by_themselves", None, two, input=ragged, output=outputs, b=each)


_SCATTER = "batch_output [{ target_name: 'y' source_input: 'x' }]"


def _type_cases() -> Iterator[Case]:
    for name, dtype in (("STRING", TensorProto.STRING), ("FP16", TensorProto.FLOAT16), ("BOOL", TensorProto.BOOL)):
        graph = _io(("B", 4), dtype=dtype)
        yield case(f"type_{name}", None, graph, input=x_input("4", dtype=name), output=y_output("4", dtype=name))
    yield case("input_type", "input.x.data_type", make_graph(), input=x_input("4", dtype="INT64"))
    yield case("output_type", "output.y.data_type", make_graph(), output=y_output("4", dtype="FP64"))
    bf16 = make_graph([value("x"), value("z", dtype=TensorProto.BFLOAT16)])
    yield case(
        "bfloat16", "input.z.data_type", bf16, input=_tensors("input", _X, "name: 'z' data_type: TYPE_BF16 dims: [ 4 ]")
    )
    yield case(
        "bfloat16_output_left_out",
        None,
        make_graph(
            outputs=[value("y"), value("z", dtype=TensorProto.BFLOAT16)],
            nodes=[helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Cast", ["x"], ["z"], to=16)],
        ),
    )
    sequence = helper.make_tensor_sequence_value_info("s", _FLOAT, None)
    made = helper.make_node("SequenceConstruct", ["x"], ["s"])
    yield case(
        "sequence",
        "s",
        make_graph(outputs=[value("y"), sequence], nodes=[helper.make_node("Identity", ["x"], ["y"]), made]),
    )


def _name_cases() -> Iterator[Case]:
    weight = numpy_helper.from_array(np.zeros((1, 4), np.float32), "w")
    add = [helper.make_node("Add", ["x", "w"], ["y"])]
    default = make_graph([value("x"), value("w", (1, 4))], nodes=add, weights=[weight])
    yield case("input_missing", "input", make_graph([value("x"), value("w")], nodes=add))
    yield case("input_unknown", "input.z", make_graph(), input=_tensors("input", _X, _X.replace("'x'", "'z'")))
    yield case("output_unknown", "output.z", make_graph(), output=_tensors("output", _Y, _Y.replace("'y'", "'z'")))
    yield case(
        "output_left_out",
        None,
        make_graph(
            outputs=[value("y"), value("z")],
            nodes=[helper.make_node("Identity", ["x"], [name]) for name in ("y", "z")],
        ),
    )
    yield case("input_with_value", None, default)
    yield changed("input_with_value_listed", "input.w.optional", default, _FULL_W)
    yield changed("input_with_value_optional", None, default, _FULL_W_OPTIONAL)
    yield case(
        "optional_without_value",
        "input.x.optional",
        make_graph(),
        max_batch_size="",
        input=x_input("-1, 4", "optional: true"),
        output=y_output("-1, 4"),
    )
    yield case("optional_batched", "input.x.optional", make_graph(), input=x_input("4", "optional: true"))
    yield case(
        "weight_old_ir",
        None,
        make_graph([value("x"), value("w", (1, 4))], nodes=add, weights=[weight], ir_version=3, opset=8),
    )


_FULL = {"max_batch_size": "", "output": y_output("-1, 4")}
_FULL_W = _FULL | {
    "input": _tensors("input", _X.replace("[ 4 ]", "[ -1, 4 ]"), "name: 'w' data_type: TYPE_FP32 dims: [ 1, 4 ]")
}
_FULL_W_OPTIONAL = _FULL | {"input": _FULL_W["input"].replace("[ 1, 4 ]", "[ 1, 4 ] optional: true")}


def _completion_cases() -> Iterator[Case]:
    nothing = {"input": "", "output": ""}
    yield changed("complete", None, make_graph(), nothing)
    yield changed("complete_unsized", None, make_graph(), nothing | {"max_batch_size": ""})
    yield changed("complete_scalar", None, _io(()), nothing | {"max_batch_size": ""})
    yield changed("complete_fixed_batch", "input.x.dims", make_graph([value("x", (3, 4))]), nothing)
    yield case("complete_outputs", None, make_graph(), output="")
    yield case(
        "complete_outputs_batch_given",
        "input.x.dims",
        make_graph(),
        max_batch_size="",
        input=x_input("-1, 4"),
        output="",
    )


_START = "control_input [{ name: 'START' control [{ kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }] }]"


def _sequence_cases() -> Iterator[Case]:
    def sequence(name: str, field: str | None, start: Axes, dtype: int = _FLOAT, more: str = "") -> Case:
        graph = make_graph([value("x"), value("START", start, dtype)])
        return case(f"control_{name}", field, graph, s=f"sequence_batching {{ {_START} {more} }}")

    yield sequence("plain", None, ("B", 1))
    yield sequence("two_elements", "sequence_batching.control_input.START", ("B", 2))
    yield sequence("without_axis", "sequence_batching.control_input.START", ("B",))
    yield sequence("type", "sequence_batching.control_input.START", ("B", 1), TensorProto.INT32)
    yield case(
        "control_unknown", "sequence_batching.control_input.START", make_graph(), s=f"sequence_batching {{ {_START} }}"
    )
    state = "state [{ input_name: 'in' output_name: 'out' data_type: TYPE_FP32 dims: [ 4 ] }]"
    kept = make_graph(
        [value("x"), value("in")],
        [value("y"), value("out")],
        [helper.make_node("Identity", [one], [other]) for one, other in (("x", "y"), ("in", "out"))],
    )
    yield case("state", None, kept, s=f"sequence_batching {{ {state} }}")
    yield case(
        "state_shown",
        None,
        kept,
        s=f"sequence_batching {{ {state} }}",
        output=_tensors("output", _Y, _Y.replace("'y'", "'out'")),
    )
    yield case(
        "state_unknown",
        "sequence_batching.state.other",
        kept,
        input=_tensors("input", _X, _X.replace("'x'", "'in'")),
        s=f"sequence_batching {{ {state.replace(chr(39) + 'in' + chr(39), chr(39) + 'other' + chr(39))} }}",
    )
    yield case(
        "state_type", "sequence_batching.state.in", kept, s=f"sequence_batching {{ {state.replace('FP32', 'FP16')} }}"
    )
