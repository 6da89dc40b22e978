"""Low-rank attention on the CPU: layouts agree, the operator equals the definition, ONNX Runtime runs the function."""

import math
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.devices import A100, GPUS, H100_SXM, roofline_us
from kernels.low_rank_attention import absorbed_attention, low_rank_attention, reference
from kernels.low_rank_attention.cost import Sizes, best_layout, state_elements, work
from kernels.low_rank_attention.reference import Variant
from tests.kernels.low_rank_inputs import draw, exact, permuted

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3}
VARIANTS = pytest.mark.parametrize("variant", ["linear", "softmax"])
RANKS = torch.tensor([20, 0, 7, 1])
SIZES = [5, 3, 0, 64]


def close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_all_layouts_of_a_low_rank_history_agree_in_fp64() -> None:
    torch.manual_seed(0)
    length, rank, heads, width = 24, 6, 2, 10
    lengths, ends = torch.tensor([24, 0, 3, 11]), torch.tensor([4, 5, 5, 12])
    targets = torch.randn(12, width, dtype=torch.float64)
    query_weight = torch.randn(width, heads, 4, dtype=torch.float64)
    keys = torch.randn(4, heads, rank, 4, dtype=torch.float64)
    values = torch.randn(4, heads, rank, 3, dtype=torch.float64)
    up, score_bias = torch.randn(length, rank, dtype=torch.float64), torch.randn(heads, dtype=torch.float64)
    # A user's compression comes from its valid events only, so an empty history compresses to nothing.
    seen = (lengths > 0).double()[:, None, None, None]
    keys, values = keys * seen, values * seen
    queries = torch.einsum("cd,dhe->che", targets, query_weight)
    raw_keys, raw_values = (torch.einsum("lr,bhrx->bhlx", up, x) for x in (keys, values))
    raw = reference.unabsorbed_attention(queries, ends, raw_keys, raw_values, score_bias, lengths)
    state = reference.absorb(keys, values, up, score_bias, lengths)
    factored = reference.low_rank_attention(queries, ends, state.keys, state.values, state.bias)
    product = reference.absorb_fully(state, query_weight)
    close(factored, raw, torch.float64)
    close(reference.absorbed_attention(targets, ends, product, state.bias), raw, torch.float64)
    assert (raw[4] == 0).all()


def test_softmax_weights_of_equal_scores_are_the_mean_of_the_users_rows() -> None:
    inputs = draw([2, 1])
    flat = inputs._replace(keys=torch.zeros_like(inputs.keys))
    output = low_rank_attention(*flat, ranks=torch.tensor([4, 20]), variant="softmax")
    expected = flat.values[0, :, :4].mean(dim=1).flatten() + flat.bias[0]
    torch.testing.assert_close(output[0], expected)


@VARIANTS
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rank", "width"), [(20, 8), (4, 40)])
def test_the_operator_equals_the_definition(variant: Variant, dtype: torch.dtype, rank: int, width: int) -> None:
    """With rank 4 and wide values absorption is the dearer way, so both CPU forms run."""
    inputs = draw(SIZES, dtype, rank=rank, width=width)
    for ranks in (None, RANKS):
        expected = reference.low_rank_attention(*exact(inputs), ranks, variant)
        close(low_rank_attention(*inputs, ranks=ranks, variant=variant), expected, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_absorbed_operator_equals_the_definition(dtype: torch.dtype) -> None:
    inputs = draw(SIZES, dtype)
    targets, product = inputs.queries.flatten(1), torch.randn(4, 16, 16).to(dtype) / 4
    expected = reference.absorbed_attention(targets.double(), inputs.ends, product.double(), inputs.bias.double())
    close(absorbed_attention(targets, inputs.ends, product, inputs.bias), expected, dtype)


@VARIANTS
def test_an_empty_user_gets_its_bias_and_never_nan(variant: Variant) -> None:
    inputs = draw([2, 2])
    garbage = inputs._replace(keys=torch.full_like(inputs.keys, torch.nan), values=inputs.values * torch.inf)
    output = low_rank_attention(*garbage, ranks=torch.zeros(2, dtype=torch.int32), variant=variant)
    assert torch.equal(output, inputs.bias.repeat_interleave(2, dim=0))


@VARIANTS
def test_rows_beyond_a_users_rank_do_not_count(variant: Variant) -> None:
    inputs, ranks = draw([3, 4]), torch.tensor([5, 19])
    beyond = (torch.arange(20) >= ranks[:, None])[:, None, :, None]
    dirty = inputs._replace(
        keys=inputs.keys.masked_fill(beyond, torch.nan), values=inputs.values.masked_fill(beyond, torch.inf)
    )
    clean = low_rank_attention(*inputs, ranks=ranks, variant=variant)
    assert torch.equal(clean, low_rank_attention(*dirty, ranks=ranks, variant=variant))


@VARIANTS
@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), shuffler=st.randoms(use_true_random=False))
def test_a_request_is_answered_alike_alone_and_in_any_batch(
    variant: Variant, sizes: list[int], shuffler: Random
) -> None:
    inputs = draw(sizes)
    order = list(range(len(sizes)))
    shuffler.shuffle(order)
    shuffled, rows = permuted(inputs, order)
    output = low_rank_attention(*inputs, variant=variant)
    assert torch.equal(low_rank_attention(*shuffled, variant=variant), output[rows])
    alone, own = permuted(inputs, order[:1])
    assert torch.equal(low_rank_attention(*alone, variant=variant), output[own])


def test_no_candidates_give_no_outputs_and_surplus_ones_are_the_last_users() -> None:
    inputs = draw([0, 0])
    assert low_rank_attention(*inputs).shape == (0, 16)
    inputs = draw([2, 3])
    short = inputs._replace(ends=torch.tensor([2, 4]))
    assert torch.equal(low_rank_attention(*short), low_rank_attention(*inputs))


def test_nan_and_infinity_in_a_query_stay_in_its_row() -> None:
    inputs = draw([4])
    dirty = inputs.queries.clone()
    dirty[1], dirty[2] = torch.nan, torch.inf
    clean, output = low_rank_attention(*inputs), low_rank_attention(*inputs._replace(queries=dirty))
    assert torch.equal(output[[0, 3]], clean[[0, 3]])
    assert not output[[1, 2]].isfinite().any()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keys", torch.zeros(2, 2, 19, 8), r"keys must be \[2, 2, 20, 8\]"),
        ("values", torch.zeros(2, 2, 20, 8, dtype=torch.float16), "values must be .*float32, .*, not .*float16"),
        ("bias", torch.zeros(2, 15), r"bias must be \[2, 16\]"),
        ("ends", torch.zeros(3, dtype=torch.int64), r"keys must be \[3, 2, 20, 8\]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(field: str, value: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        low_rank_attention(*draw([1, 1])._replace(**{field: value}))


def test_ranks_and_variants_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="one rank a user"):
        low_rank_attention(*draw([1, 1]), ranks=torch.tensor([3]))
    with pytest.raises(ValueError, match="'relu'"):
        low_rank_attention(*draw([1, 1]), variant="relu")  # pyright: ignore[reportArgumentType]


@VARIANTS
def test_opcheck_passes(variant: Variant) -> None:
    torch.library.opcheck(torch.ops.recserve.low_rank_attention, (*draw(SIZES), RANKS, variant))
    torch.library.opcheck(torch.ops.recserve.low_rank_attention, (*draw(SIZES), None, variant))


def test_opcheck_passes_for_the_absorbed_form() -> None:
    inputs = draw(SIZES)
    arguments = (inputs.queries.flatten(1), inputs.ends, torch.randn(4, 16, 16), inputs.bias)
    torch.library.opcheck(torch.ops.recserve.absorbed_attention, arguments)


def test_compulsory_bytes_are_those_of_the_tensors() -> None:
    inputs = draw([600, 400], heads=4, rank=32, width=16)
    sizes = Sizes(users=2, candidates=1000, heads=4, rank=32, key=8, value=16, width=32, history=100)
    needed = work(sizes, 4)
    assert needed.read == sum(x.numel() * x.element_size() for x in inputs)
    assert needed.written == 1000 * 64 * 4
    assert needed.operations == 2 * 1000 * 4 * 32 * (8 + 16)
    assert work(sizes, 2).read < needed.read


def test_the_roofline_is_the_slower_of_memory_and_arithmetic() -> None:
    small = work(Sizes(users=1, candidates=1000, heads=4, rank=32, key=16, value=16), 2)
    assert roofline_us(H100_SXM, small) == pytest.approx((small.read + small.written) / 3.35e12 * 1e6)
    large = work(Sizes(users=1, candidates=1000, heads=4, rank=4096, key=16, value=16), 4)
    assert roofline_us(A100, large) == pytest.approx(large.operations / 19.5e12 * 1e6)
    assert all(roofline_us(gpu, large) > roofline_us(gpu, small) for gpu in GPUS.values())


@pytest.mark.parametrize(
    ("rank", "width", "history", "expected"),
    [(32, 64, 1024, "factored"), (64, 64, 1024, "absorbed"), (32, 64, 8, "unabsorbed"), (33, 64, 1024, "absorbed")],
)
def test_the_best_layout_turns_where_the_closed_form_says(rank: int, width: int, history: int, expected: str) -> None:
    """One value head of 16 beside keys of 16: factored up to r = D V / (E + V) = 32."""
    sizes = Sizes(users=1, candidates=1, heads=4, rank=rank, key=16, value=16, width=width, history=history)
    assert best_layout(sizes) == expected
    turning = math.floor(width * 16 / 32)
    assert turning == 32
    assert state_elements(sizes, best_layout(sizes)) == min(
        state_elements(sizes, layout) for layout in ("unabsorbed", "factored", "absorbed")
    )


def test_a_layout_without_its_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="width and history"):
        best_layout(Sizes(users=1, candidates=1, heads=1, rank=1, key=1, value=1))
