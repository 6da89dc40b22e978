"""Combo-ID attention on a GPU beyond the registry's cases: raggedness, batch order, captured graphs."""

import pytest
import torch

from kernels.combo_id_attention import combo_id_attention, reference
from tests.kernels.combo_inputs import Inputs, draw, exact, group, permuted

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
RAGGED = [5, 0, 64, 1, 650, 7]


def moved(inputs: Inputs) -> Inputs:
    return group(tuple(x.cuda() for x in inputs.flat))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 5e-3)])
@pytest.mark.parametrize(("user", "item", "heads"), [(5, 3, 2), (0, 4, 1), (40, 24, 4)])
def test_ragged_requests_equal_the_definition(
    dtype: torch.dtype, tolerance: float, user: int, item: int, heads: int
) -> None:
    inputs = draw(RAGGED, dtype, user=user, item=item, heads=heads, width=16)
    output = combo_id_attention(*moved(inputs)).cpu()
    expected = reference.combo_id_attention(*exact(inputs))
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bits_do_not_depend_on_the_order_of_the_batch(dtype: torch.dtype) -> None:
    inputs = draw(RAGGED, dtype)
    shuffled, rows = permuted(inputs, [4, 2, 5, 0, 1, 3])
    output = combo_id_attention(*moved(inputs)).cpu()
    assert torch.equal(combo_id_attention(*moved(shuffled)).cpu(), output[rows])


def test_a_graph_captured_once_answers_other_sizes() -> None:
    inputs = moved(draw([40, 24]))
    combo_id_attention(*inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = combo_id_attention(*inputs)
    other = draw([3, 61])
    inputs.ends.copy_(other.ends)
    graph.replay()
    torch.cuda.synchronize()
    expected = reference.combo_id_attention(*exact(draw([40, 24])._replace(ends=other.ends)))
    torch.testing.assert_close(output.cpu().double(), expected, rtol=1e-5, atol=1e-5)
