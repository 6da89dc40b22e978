"""Cases of ONNX files: weights kept outside, what ONNX Runtime loads, settings of NVIDIA's backend."""

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.export.lint_cases.case import IDENTITY, Case
from tests.export.lint_cases.graphs import case, make_graph, value, x_input, y_output


def _external(location: str) -> bytes:
    weight = numpy_helper.from_array(np.ones(256, np.float32), "w")
    size = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, stored in {"location": location, "offset": "0", "length": str(size)}.items():
        weight.external_data.add(key=key, value=stored)
    return make_graph(
        [value("x", ("B", 256))], [value("y", ("B", 256))], [helper.make_node("Add", ["x", "w"], ["y"])], [weight]
    )


def cases() -> Iterator[Case]:
    """All cases of this file."""
    yield from _external_cases()
    yield from _place_cases()
    yield from _content_cases()
    yield from _parameter_cases()


def _external_cases() -> Iterator[Case]:
    wide: Mapping[str, str] = {"input": x_input("256"), "output": y_output("256")}
    base = {**IDENTITY, "backend": 'backend: "onnxruntime"'}
    for name, field, location, more in (
        ("beside", None, "model.onnx.data", {"1/model.onnx.data": bytes(1024)}),
        ("below", None, "weights/w.bin", {"1/weights/w.bin": bytes(1024)}),
        ("missing", "external_data", "model.onnx.data", {}),
        ("short", "external_data", "model.onnx.data", {"1/model.onnx.data": bytes(100)}),
        ("above", "external_data", "../w.bin", {"w.bin": bytes(1024)}),
        ("absolute", "external_data", "/nowhere/w.bin", {}),
    ):
        yield Case(
            name=f"graph_external_{name}",
            field=field,
            base=base,
            changes=wide,
            files={"1/model.onnx": _external(location)},
            more=more,
            judge="onnxruntime",
        )


def _place_cases() -> Iterator[Case]:
    wide: Mapping[str, str] = {"input": x_input("256"), "output": y_output("256")}
    base = {**IDENTITY, "backend": 'backend: "onnxruntime"'}
    folder = {"1/model.onnx/model.onnx": _external("w.bin"), "1/model.onnx/w.bin": bytes(1024)}
    yield Case(name="graph_folder", field=None, base=base, changes=wide, files=folder, judge="onnxruntime")
    yield Case(name="graph_folder_empty", field="", base=base, files={"1/model.onnx/": ""}, judge="source")
    yield Case(name="graph_missing", field="", base=base, files={"1/net.onnx": make_graph()}, judge="source")
    yield Case(
        name="graph_named",
        field=None,
        base=base,
        changes={"f": "default_model_filename: 'net.onnx'"},
        files={"1/net.onnx": make_graph()},
        judge="source",
    )


def _content_cases() -> Iterator[Case]:
    yield case("no_protobuf", "", b"not an ONNX file", judge="onnxruntime")
    yield case("empty_file", "graph", b"", judge="onnxruntime")
    yield case("truncated", "", make_graph()[:-7], judge="onnxruntime")
    yield case("ir_too_new", "ir_version", make_graph(ir_version=11))
    yield case("opset_too_new", "opset", make_graph(opset=22))
    yield case("old", None, make_graph(ir_version=4, opset=9), judge="onnxruntime")
    custom = helper.make_node("Rank", ["x"], ["y"], domain="acme")
    yield case("custom_operator", "acme:Rank", make_graph(nodes=[custom]), judge="onnxruntime")
    yield case(
        "custom_operator_library",
        None,
        make_graph(nodes=[custom]),
        o="model_operations { op_library_filename: 'a.so' }",
    )
    yield case(
        "microsoft_operator",
        None,
        make_graph(nodes=[helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]),
        judge="onnxruntime",
    )
    yield case(
        "reads_nothing",
        "ghost",
        make_graph(nodes=[helper.make_node("Add", ["x", "ghost"], ["y"])]),
        judge="onnxruntime",
    )
    yield case(
        "writes_twice", "y", make_graph(nodes=[helper.make_node("Identity", ["x"], ["y"])] * 2), judge="onnxruntime"
    )
    yield case("output_unwritten", "z", make_graph(outputs=[value("y"), value("z")]), judge="onnxruntime")
    yield case(
        "random", None, make_graph(nodes=[helper.make_node("RandomNormalLike", ["x"], ["y"])]), judge="onnxruntime"
    )


def _parameter_cases() -> Iterator[Case]:
    for name, field, key, setting in (
        ("mode", None, "execution_mode", "1"),
        ("mode_two", "parameters.execution_mode", "execution_mode", "2"),
        ("threads", None, "intra_op_thread_count", "4"),
        ("threads_zero", None, "intra_op_thread_count", "0"),
        ("threads_text", "parameters.intra_op_thread_count", "intra_op_thread_count", "many"),
        ("inter_threads_text", "parameters.inter_op_thread_count", "inter_op_thread_count", ""),
        ("arena", None, "enable_mem_arena", "0"),
        ("arena_text", "parameters.enable_mem_arena", "enable_mem_arena", "maybe"),
    ):
        text = f"parameters [{{ key: '{key}' value {{ string_value: '{setting}' }} }}]"
        yield case(f"parameter_{name}", field, make_graph(), p=text)
    for name, field, kind, accelerator in (
        ("tensorrt", None, "gpu", "tensorrt"),
        ("openvino", None, "cpu", "openvino"),
        ("gpu_unknown", _ACCELERATORS, "gpu", "tensor_rt"),
        ("cpu_unknown", _ACCELERATORS, "cpu", "mkl"),
    ):
        text = (
            f"optimization {{ execution_accelerators {{ {kind}_execution_accelerator {{ name: '{accelerator}' }} }} }}"
        )
        yield case(f"accelerator_{name}", field, make_graph(), o=text, instance_group="")


_ACCELERATORS = "optimization.execution_accelerators"
