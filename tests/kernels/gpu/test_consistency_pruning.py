"""The kernel of consistency pruning on a GPU: the bits of the definition."""

import pytest
import torch

from kernels.consistency_pruning import Beams, Candidates, consistency_pruning, reference
from kernels.consistency_pruning.op import flatten, unflatten
from tests.kernels.pruning_inputs import Inputs, assert_same_bits, draw, rule

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def on_gpu(inputs: Inputs) -> Inputs:
    return Inputs(
        Candidates(*(x.cuda() for x in inputs.candidates)), Beams(*(x.cuda() for x in inputs.beams)), inputs.need.cuda()
    )


@pytest.mark.parametrize("penalty", [0.0, 0.25], ids=["hard", "soft"])
@pytest.mark.parametrize("width", [1, 33, 70])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("candidates", [0, 1, 2, 7, 63, 64, 65, 512, 1000])
def test_the_kernel_has_the_bits_of_the_definition(
    candidates: int, dtype: torch.dtype, width: int, penalty: float
) -> None:
    inputs, given = (
        draw(candidates, 30, batch=5, width=width, dtype=dtype),
        rule(window=90, min_keep=5, penalty=penalty),
    )
    result = flatten(consistency_pruning(*on_gpu(inputs), given))
    assert_same_bits(unflatten([x.cpu() for x in result]), reference.consistency_pruning(*inputs, given))


def test_a_request_is_answered_alike_alone_and_in_a_large_batch() -> None:
    inputs = on_gpu(draw(100, 50, batch=1000))
    whole = flatten(consistency_pruning(*inputs, rule()))
    for request in (0, 567, 999):
        alone = flatten(consistency_pruning(*inputs.of(torch.tensor([request], device="cuda")), rule()))
        assert all(torch.equal(one[0], other[request]) for one, other in zip(alone, whole, strict=True))
