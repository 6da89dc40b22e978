"""Consistency pruning in graphs: registration, torch.export, and ONNX Runtime on the function's body."""

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from kernels.consistency_pruning import Beams, Candidates, Rule, consistency_pruning, crss_candidates, reference
from kernels.consistency_pruning.op import flatten, unflatten
from kernels.functions import attach
from tests.kernels.pruning_inputs import CODEBOOKS, WORDS, assert_same_bits, draw, rule

SLOTS = 6
MODES = pytest.mark.parametrize("penalty", [0.0, 0.25], ids=["hard", "soft"])


class Step(nn.Module):
    """The op as a graph over its tensors."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def forward(
        self,
        scores: Tensor,
        tokens: Tensor,
        categories: Tensor,
        codes: Tensor,
        last: Tensor,
        match: Tensor,
        need: Tensor,
    ) -> tuple[Tensor, ...]:
        beams = Beams(torch.zeros_like(match, dtype=scores.dtype), codes, last, match)
        return flatten(consistency_pruning(Candidates(scores, tokens, categories), beams, need, self.rule))


class Decoding(nn.Module):
    """Selection and step in one graph: what a decoder's logits go through, categories being parities of words."""

    def forward(
        self, scores: Tensor, codes: Tensor, last: Tensor, match: Tensor, log_probs: Tensor
    ) -> tuple[Tensor, ...]:
        beams = Beams(scores, codes, last, match)
        chosen, tokens = crss_candidates(beams, log_probs, 2 * SLOTS)
        candidates = Candidates(chosen, tokens, (tokens % WORDS % 2).unsqueeze(2))
        return flatten(consistency_pruning(candidates, beams, torch.ones_like(match[:, 0]), rule()))


Axes = tuple[dict[int, torch.export.Dim], ...]


def dynamic() -> Axes:
    batch, candidates = torch.export.Dim("batch", min=0), torch.export.Dim("candidates", min=0)
    per_candidate, per_beam = {0: batch, 1: candidates}, {0: batch}
    return (per_candidate, per_candidate, per_candidate, per_beam, per_beam, per_beam, {0: batch})


def exported(module: nn.Module, arguments: tuple[Tensor, ...], shapes: Axes) -> onnx.ModelProto:
    """The bare node, before the function is attached."""
    program = torch.onnx.export(module.eval(), arguments, dynamo=True, verbose=False, dynamic_shapes=shapes)
    assert program is not None
    return program.model_proto


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(opened: ort.InferenceSession, tensors: tuple[Tensor, ...]) -> list[Tensor]:
    names = [given.name for given in opened.get_inputs()]
    outputs = opened.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)})
    return [torch.from_numpy(output) for output in outputs]


@MODES
def test_a_runtime_leaves_the_part_of_the_other_mode_away(penalty: float, tmp_path: Path) -> None:
    model = exported(Step(rule(penalty=penalty)), draw(20, SLOTS).tensors, dynamic())
    attach(model)
    options = ort.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(tmp_path / "model.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "If" not in operators
    assert ("Max" in operators) == bool(penalty), "only a penalty has a lowest score"


@MODES
def test_opcheck_passes(penalty: float) -> None:
    inputs = draw(7, SLOTS, width=3)
    torch.library.opcheck(torch.ops.recserve.consistency_pruning, (*inputs.tensors, 5, WORDS, 2, penalty))


def test_the_exported_program_holds_the_operator_and_runs_any_sizes() -> None:
    program = torch.export.export(Step(rule()), draw(20, SLOTS).tensors, dynamic_shapes=dynamic())
    assert any("recserve.consistency_pruning" in str(node.target) for node in program.graph.nodes)
    for batch, candidates in ((0, 5), (1, 0), (4, 70)):
        inputs = draw(candidates, SLOTS, batch=batch)
        expected = reference.consistency_pruning(*inputs, rule())
        assert_same_bits(unflatten(program.module()(*inputs.tensors)), expected)


@MODES
@pytest.mark.parametrize("width", [1, 5], ids=["ids", "shares"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_onnx_runtime_runs_the_function_bit_by_bit(dtype: torch.dtype, width: int, penalty: float) -> None:
    step = Step(rule(min_keep=3, penalty=penalty))
    model = exported(step, draw(20, SLOTS, dtype=dtype, width=width).tensors, dynamic())
    assert [node.op_type for node in model.graph.node if node.domain == "recserve"] == ["ConsistencyPruning"]
    attach(model)
    onnx.checker.check_model(model, full_check=True)
    opened = session(model)
    for candidates in (0, 1, 2, 7, 63, 64, 65, 512):
        for batch in (0, 1, 3):
            inputs = draw(candidates, SLOTS, batch=batch, dtype=dtype, width=width, seed=candidates)
            expected = reference.consistency_pruning(*inputs, step.rule)
            assert_same_bits(unflatten(run(opened, inputs.tensors)), expected)


def test_a_penalty_beyond_half_precision_saturates_in_onnx_as_in_the_definition() -> None:
    step, inputs = Step(rule(penalty=2.0**15)), draw(SLOTS, SLOTS, dtype=torch.float16)
    inputs = inputs._replace(need=torch.full_like(inputs.need, 9))
    model = exported(step, inputs.tensors, dynamic())
    attach(model)
    result = unflatten(run(session(model), inputs.tensors))
    assert torch.finfo(torch.float16).min in result.beams.scores
    assert_same_bits(result, reference.consistency_pruning(*inputs, step.rule))


def test_selection_and_step_in_one_graph_equal_the_eager_ones() -> None:
    batch = torch.export.Dim("batch", min=0)

    def arguments(rows: int) -> tuple[Tensor, ...]:
        beams = draw(1, SLOTS, batch=rows).beams
        random = torch.Generator().manual_seed(rows)
        log_probs = -torch.randint(0, 9, (rows, SLOTS, CODEBOOKS, WORDS), generator=random) / 4
        return (*beams, log_probs.masked_fill((beams.codes >= 0).unsqueeze(3), -torch.inf))

    model = exported(Decoding(), arguments(3), tuple({0: batch} for _ in range(5)))
    attach(model)
    opened = session(model)
    for rows in (1, 2, 7):
        eager = unflatten(Decoding()(*arguments(rows)))
        assert_same_bits(unflatten(run(opened, arguments(rows))), eager)
        # A code that was chosen stays, and each live path has one more.
        assert ((eager.beams.codes >= 0).sum(dim=2) > 0)[eager.parents >= 0].all()
