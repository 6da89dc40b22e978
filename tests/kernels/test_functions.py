"""A model with a hot op runs everywhere; an operator registered under its name takes the node over."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxruntime_extensions import PyCustomOpDef, get_library_path, onnx_op
from torch import Tensor

from kernels.bench import onnx_model
from kernels.bodies import DOMAIN, OPSET
from kernels.case import Case
from kernels.functions import attach
from kernels.registry import OPS

_TYPES: dict[int, int] = {
    onnx.TensorProto.FLOAT: PyCustomOpDef.dt_float,
    onnx.TensorProto.INT32: PyCustomOpDef.dt_int32,
    onnx.TensorProto.INT64: PyCustomOpDef.dt_int64,
}


@dataclass
class Registered:
    """A case with its model, and the operator that stands in for an accelerator's: it counts its calls."""

    case: Case
    model: onnx.ModelProto
    calls: int = 0

    def __call__(self, *tensors: np.ndarray, **attributes: float) -> np.ndarray | tuple[np.ndarray, ...]:
        self.calls += 1
        given = iter(torch.from_numpy(tensor) for tensor in tensors)
        outputs = self.case.op(*(next(given) if isinstance(x, Tensor) else x for x in self.case.inputs(0)))
        flat = (outputs,) if isinstance(outputs, Tensor) else outputs
        return flat[0].numpy() if len(flat) == 1 else tuple(output.numpy() for output in flat)


def single_precision(case: Case, extra: tuple[Tensor, ...] = ()) -> Case:
    """The extensions know fp32 only."""
    inputs = (*(x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in case.inputs(0)), *extra)
    return replace(case, inputs=lambda _: inputs)


def representative_cases() -> Iterator[Case]:
    """One for each function of each op."""
    for op in OPS:
        requests = (case for case in op.cases() if case.in_onnx and case.name == "request")
        for form, case in {case.config.split("-")[0]: case for case in requests}.items():
            yield single_precision(case)
            if form in ("linear", "softmax"):
                yield single_precision(case, (torch.tensor([20]),))


def register(case: Case) -> Registered:
    """Makes the operator known to ONNX Runtime, where a session asks for the extensions' library."""
    model = onnx_model(case)
    (node,) = (node for node in model.graph.node if node.domain == DOMAIN)
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    found = Registered(case, model)
    kinds: dict[int, int] = {
        onnx.AttributeProto.INT: PyCustomOpDef.dt_int64,
        onnx.AttributeProto.FLOAT: PyCustomOpDef.dt_float,
    }
    onnx_op(
        op_type=f"{DOMAIN}::{node.op_type}",
        inputs=[_TYPES[types[name]] for name in node.input],
        outputs=[_TYPES[types[name]] for name in node.output],
        attrs={attribute.name: kinds[attribute.type] for attribute in node.attribute},
    )(found)
    return found


@pytest.fixture(scope="module")
def registered() -> dict[str, Registered]:
    """By the node's name."""
    cases = {
        next(n.op_type for n in onnx_model(case).graph.node if n.domain == DOMAIN): case
        for case in representative_cases()
    }
    return {name: register(case) for name, case in cases.items()}


@pytest.mark.parametrize(
    "level", [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]
)
@pytest.mark.parametrize("name", [name for op in OPS for name in op.functions])
def test_a_registered_operator_takes_the_node_and_without_it_the_function_runs(
    registered: dict[str, Registered], name: str, level: ort.GraphOptimizationLevel
) -> None:
    operator = registered[name]
    tensors = [x.numpy() for x in operator.case.inputs(0) if isinstance(x, Tensor)]
    answers = []
    for library in (None, get_library_path()):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        if library:
            options.register_custom_ops_library(library)
        session = ort.InferenceSession(operator.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        operator.calls = 0
        feeds = dict(zip((given.name for given in session.get_inputs()), tensors, strict=True))
        answers.append(session.run(None, feeds))
        assert operator.calls == (1 if library else 0)
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-5, atol=1e-5)


def test_functions_are_named_as_registered_and_keep_to_the_opset_of_the_exporter() -> None:
    for op in OPS:
        for name, build in op.functions.items():
            function = build()
            assert (function.domain, function.name) == (DOMAIN, name)
            assert {entry.domain for entry in function.opset_import} <= {"", DOMAIN}
            assert max(entry.version for entry in function.opset_import if not entry.domain) == OPSET <= 21
            assert all(node.domain == "" for node in function.node), "no nested operators of ours"


def test_a_model_without_hot_ops_stays_as_it_is() -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    before = model.SerializeToString()
    attach(model)
    assert model.SerializeToString() == before


def test_nodes_in_branches_get_their_function() -> None:
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("AbsorbedAttention", ["t", "e", "p", "b"], ["y"], domain=DOMAIN)],
        "then",
        [],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
    )
    branch = onnx.helper.make_node("If", ["condition"], ["z"], then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([branch], "outer", [], []))
    attach(model)
    assert [function.name for function in model.functions] == ["AbsorbedAttention"]
    assert DOMAIN in {entry.domain for entry in model.opset_import}
