"""Low-rank attention in graphs: exported programs keep the operator, ONNX Runtime runs the function body."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from kernels.functions import attach
from kernels.low_rank_attention import absorbed_attention, low_rank_attention
from kernels.low_rank_attention.reference import Variant
from tests.kernels.low_rank_inputs import draw

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3}
VARIANTS = pytest.mark.parametrize("variant", ["linear", "softmax"])
RANKS = torch.tensor([20, 0, 7, 1])
SIZES = [5, 3, 0, 64]


def close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


class Attention(nn.Module):
    """The operator as a graph with symbolic users and candidates."""

    def __init__(self, variant: Variant, *, ranked: bool) -> None:
        super().__init__()
        self.variant: Variant = variant
        self.ranked = ranked

    def forward(
        self, queries: Tensor, ends: Tensor, keys: Tensor, values: Tensor, bias: Tensor, ranks: Tensor
    ) -> Tensor:
        return low_rank_attention(queries, ends, keys, values, bias, ranks if self.ranked else None, self.variant)


class Absorbed(nn.Module):
    """The fully absorbed operator as a graph."""

    def forward(self, targets: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
        return absorbed_attention(targets, ends, product, bias)


DIMS = tuple(
    {0: torch.export.Dim(name, min=least)}
    for name, least in (("candidates", 0), ("batch", 1), ("batch", 1), ("batch", 1), ("batch", 1), ("batch", 1))
)


def test_the_exported_program_holds_the_operator_and_runs_any_sizes() -> None:
    module = Attention("linear", ranked=True)
    program = torch.export.export(module, (*draw([3, 4, 2]), torch.tensor([3, 2, 1])), dynamic_shapes=DIMS)
    assert any(node.target is torch.ops.recserve.low_rank_attention.default for node in program.graph.nodes)
    arguments = (*draw(SIZES), RANKS)
    assert torch.equal(program.module()(*arguments), module(*arguments))


def exported(module: nn.Module, arguments: tuple[Tensor, ...]) -> onnx.ModelProto:
    """The bare node, before functions are attached."""
    program = torch.onnx.export(
        module.eval(), arguments, dynamo=True, verbose=False, dynamic_shapes=DIMS[: len(arguments)]
    )
    assert program is not None
    return program.model_proto


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(opened: ort.InferenceSession, arguments: tuple[Tensor, ...]) -> Tensor:
    feeds = {given.name: x.numpy() for given, x in zip(opened.get_inputs(), arguments, strict=True)}
    return torch.from_numpy(np.asarray(opened.run(None, feeds)[0]))


@VARIANTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_onnx_runtime_runs_the_function_with_parity(variant: Variant, dtype: torch.dtype) -> None:
    model = exported(Attention(variant, ranked=True), (*draw([3, 4, 2], dtype), torch.tensor([3, 2, 1])))
    assert [node.op_type for node in model.graph.node if node.domain == "recserve"] == [
        "LowRankAttentionRanked" if variant == "linear" else "LowRankSoftmaxAttentionRanked"
    ]
    attach(model)
    onnx.checker.check_model(model, full_check=True)
    opened = session(model)
    for sizes in ([0], [1], [7], [0, 0], SIZES, [1, 0, 1000]):
        ranks = RANKS.repeat(2)[: len(sizes)]
        inputs = draw(sizes, dtype)
        expected = low_rank_attention(*inputs, ranks=ranks, variant=variant)
        actual = run(opened, (*inputs, ranks))
        assert actual.shape == expected.shape
        assert actual.dtype == dtype
        close(actual, expected, dtype)


def test_onnx_runtime_runs_the_absorbed_function_with_parity() -> None:
    def arguments(sizes: list[int]) -> tuple[Tensor, ...]:
        inputs = draw(sizes)
        return inputs.queries.flatten(1), inputs.ends, torch.randn(len(sizes), 16, 16), inputs.bias

    model = exported(Absorbed(), arguments([3, 4, 2]))
    attach(model)
    opened = session(model)
    for sizes in ([0], [1], SIZES):
        given = arguments(sizes)
        close(run(opened, given), absorbed_attention(*given), torch.float32)


@VARIANTS
def test_without_ranks_every_row_counts(variant: Variant) -> None:
    model = exported(Attention(variant, ranked=False), (*draw([3, 4, 2]), torch.tensor([3, 2, 1])))
    attach(model)
    opened = session(model)
    for sizes in ([0], SIZES):
        inputs = draw(sizes)
        ranks = torch.zeros(len(sizes), dtype=torch.int64)
        feeds = {given.name: x.numpy() for given, x in zip(opened.get_inputs(), (*inputs, ranks), strict=False)}
        actual = torch.from_numpy(np.asarray(opened.run(None, feeds)[0]))
        close(actual, low_rank_attention(*inputs, variant=variant), torch.float32)


def test_attaching_twice_changes_nothing_and_an_unknown_node_is_named() -> None:
    model = exported(Absorbed(), (torch.ones(5, 16), torch.tensor([1, 2, 5]), torch.ones(3, 16, 4), torch.ones(3, 4)))
    attach(model)
    before = model.SerializeToString()
    attach(model)
    assert model.SerializeToString() == before
    model.graph.node.append(onnx.helper.make_node("Mystery", [], ["m"], domain="recserve"))
    with pytest.raises(ValueError, match="recserve::Mystery"):
        attach(model)
