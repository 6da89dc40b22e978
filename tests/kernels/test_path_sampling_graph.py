"""Path sampling in graphs: registration, torch.export, and ONNX Runtime on the function's body."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from kernels.functions import attach
from kernels.path_sampling import PathMasks, Plan, path_sampling, path_selection, path_words, unpack
from kernels.path_sampling.reference import path_selection_reference
from tests.kernels.path_inputs import draw_rows, equal, refuse_a_draw


def test_opcheck_passes() -> None:
    weights, keys = draw_rows(7, 10)
    words = path_words(keys, Plan(paths=2, draws=3))
    torch.library.opcheck(torch.ops.recserve.path_sampling, (weights, keys, 2, 3, 1, 4, 5))
    torch.library.opcheck(torch.ops.recserve.path_selection, (weights, words, -2 + 3))


class Sampler(nn.Module):
    """Both ways to get paths, as graphs."""

    def __init__(self, plan: Plan, *, keyed: bool) -> None:
        super().__init__()
        self.plan, self.keyed = plan, keyed

    def forward(self, weights: Tensor, source: Tensor) -> PathMasks:
        if self.keyed:
            return path_sampling(weights, source, self.plan)
        return path_selection(weights, source, self.plan.anchors)


@pytest.mark.parametrize("keyed", [True, False])
def test_the_exported_program_holds_the_operator_and_runs_any_batch(keyed: bool) -> None:
    module = Sampler(Plan(paths=2, draws=3, anchors=1), keyed=keyed)

    def arguments(rows: int) -> tuple[Tensor, Tensor]:
        weights, keys = draw_rows(rows, 10)
        return weights, keys if keyed else path_words(keys, module.plan)

    batch = torch.export.Dim("batch", min=0)
    program = torch.export.export(module, arguments(3), dynamic_shapes=({0: batch}, {0: batch}))
    name = "path_sampling" if keyed else "path_selection"
    assert any(f"recserve.{name}" in str(node.target) for node in program.graph.nodes)
    for rows in (0, 1, 7):
        assert equal(PathMasks(*program.module()(*arguments(rows))), module(*arguments(rows)))


def exported(plan: Plan, fields: int) -> onnx.ModelProto:
    """The bare node, before the function is attached."""
    weights, keys = draw_rows(3, fields)
    batch = torch.export.Dim("batch", min=0)
    program = torch.onnx.export(
        Sampler(plan, keyed=False).eval(),
        (weights, path_words(keys, plan)),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: batch}, {0: batch}),
    )
    assert program is not None
    return program.model_proto


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        (64, Plan(paths=3, draws=20, anchors=-(1 << 63) + 1)),
        (63, Plan(paths=2, draws=2)),
        (1, Plan(paths=1, draws=1)),
        (8, Plan(paths=2, draws=7, anchors=1)),
    ],
)
def test_onnx_runtime_runs_the_function_bit_by_bit(fields: int, plan: Plan) -> None:
    model = exported(plan, fields)
    assert [node.op_type for node in model.graph.node if node.domain == "recserve"] == ["PathSampling"]
    attach(model)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    opened = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in opened.get_inputs()]
    for rows in (0, 1, 2, 7, 1000):
        weights, keys = draw_rows(rows, fields)
        words = path_words(keys, plan)
        if rows:
            words = refuse_a_draw(words, 0, plan.paths - 1)
        outputs = opened.run(None, dict(zip(names, (weights.numpy(), words.numpy()), strict=True)))
        masks, flags = (torch.from_numpy(np.asarray(output)) for output in outputs)
        assert equal(PathMasks(masks, flags), path_selection_reference(weights, words, plan.anchors))


class Unpacker(nn.Module):
    """Masks as the keep masks of a base model."""

    def forward(self, masks: Tensor) -> Tensor:
        return unpack(masks, 64)


def test_unpacking_is_part_of_a_graph() -> None:
    masks = torch.tensor([[-1, 0, 1], [-(1 << 63), (1 << 63) - 1, 1 << 40]])
    program = torch.onnx.export(Unpacker().eval(), (masks,), dynamo=True, verbose=False)
    assert program is not None
    opened = ort.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    kept = opened.run(None, {opened.get_inputs()[0].name: masks.numpy()})[0]
    assert torch.equal(torch.from_numpy(np.asarray(kept)), unpack(masks, 64))


def test_random_words_are_no_part_of_an_onnx_graph() -> None:
    sampler = Sampler(Plan(paths=1, draws=1), keyed=True)
    with pytest.raises(torch.onnx.errors.OnnxExporterError):
        torch.onnx.export(sampler.eval(), tuple(draw_rows(3, 5)), dynamo=True, verbose=False)
