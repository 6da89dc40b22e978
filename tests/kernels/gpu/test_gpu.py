"""On a GPU: every case of every op, at full size, against the definition; skipped without one."""

from collections.abc import Callable

import pytest
import torch

from kernels.bench import worst_gap
from kernels.gpu_times import case_key
from kernels.low_rank_attention import low_rank_attention, reference
from kernels.low_rank_attention.reference import Variant
from kernels.registry import OPS
from tests.kernels.low_rank_inputs import Inputs, draw, exact, permuted

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CASES = {case_key(op.name, case): case for op in OPS for case in op.cases()}


def on_gpu(inputs: Inputs) -> Inputs:
    return Inputs(*(x.cuda() for x in inputs))


@pytest.mark.parametrize("key", CASES)
def test_the_kernel_equals_the_definition(key: str, record_property: Callable[[str, object], None]) -> None:
    case = CASES[key]
    gap = worst_gap(case, "cuda")
    record_property("gap", f"{key}={gap}")
    assert gap <= case.tolerance


@pytest.mark.parametrize("variant", ["linear", "softmax"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 5e-3)])
def test_ragged_low_rank_attention(variant: Variant, dtype: torch.dtype, tolerance: float) -> None:
    inputs, ranks = draw([5, 0, 64, 1, 650, 7], dtype), torch.tensor([20, 3, 0, 7, 1, 19])
    output = low_rank_attention(*on_gpu(inputs), ranks=ranks.cuda(), variant=variant).cpu()
    expected = reference.low_rank_attention(*exact(inputs), ranks, variant)
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bits_do_not_depend_on_the_order_of_the_batch(dtype: torch.dtype) -> None:
    inputs = draw([5, 0, 64, 1, 650, 7], dtype)
    shuffled, rows = permuted(inputs, [4, 2, 5, 0, 1, 3])
    output = low_rank_attention(*on_gpu(inputs)).cpu()
    assert torch.equal(low_rank_attention(*on_gpu(shuffled)).cpu(), output[rows])


def test_a_graph_captured_once_answers_other_sizes() -> None:
    inputs = on_gpu(draw([40, 24]))
    low_rank_attention(*inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = low_rank_attention(*inputs)
    other = draw([3, 61])
    inputs.ends.copy_(other.ends)
    graph.replay()
    torch.cuda.synchronize()
    expected = reference.low_rank_attention(*exact(other))
    torch.testing.assert_close(output.cpu().double(), expected, rtol=1e-5, atol=1e-5)
