"""A model with a hot op runs everywhere; an operator registered under its name takes the node over."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxruntime_extensions import PyCustomOpDef, get_library_path, onnx_op

from kernels.bench import onnx_model
from kernels.bodies import DOMAIN, OPSET
from kernels.case import Case
from kernels.functions import attach
from kernels.low_rank_attention import absorbed_attention, reference
from kernels.low_rank_attention.cases import cases
from kernels.registry import OPS

CALLS: list[tuple[int, ...]] = []


@onnx_op(
    op_type="recserve::AbsorbedAttention",
    inputs=[PyCustomOpDef.dt_float, PyCustomOpDef.dt_int64, PyCustomOpDef.dt_float, PyCustomOpDef.dt_float],
    outputs=[PyCustomOpDef.dt_float],
)
def registered(targets: np.ndarray, ends: np.ndarray, product: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """An accelerator's stand-in: notes that it was called, and computes the definition."""
    CALLS.append(targets.shape)
    return absorbed_attention(*(torch.from_numpy(x) for x in (targets, ends, product, bias))).numpy()


def case_of(config: str) -> Case:
    return next(case for case in cases() if case.config == config and case.name == "request")


def absorbed_case() -> Case:
    """The extensions know fp32 only."""
    case = case_of("absorbed-fp16-wide")
    inputs = tuple(x.float() if x.is_floating_point() else x for x in case.inputs(0))
    return Case(
        name="fp32",
        config="",
        inputs=lambda _: inputs,
        op=case.op,
        reference=reference.absorbed_attention,
        launch=case.launch,
        work=case.work,
    )


@pytest.mark.parametrize(
    "level", [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]
)
def test_a_registered_operator_takes_the_node_and_without_it_the_function_runs(
    level: ort.GraphOptimizationLevel,
) -> None:
    case = absorbed_case()
    model = onnx_model(case).SerializeToString()
    feeds = dict(zip(("targets", "ends", "product", "bias"), (x.numpy() for x in case.inputs(0)), strict=True))
    answers = {}
    for library in (None, get_library_path()):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        if library:
            options.register_custom_ops_library(library)
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        CALLS.clear()
        named = dict(zip((given.name for given in session.get_inputs()), feeds.values(), strict=True))
        answers[library] = np.asarray(session.run(None, named)[0])
        assert CALLS == ([(1000, 64)] if library else [])
    np.testing.assert_allclose(*answers.values(), rtol=1e-5, atol=1e-5)


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
