"""The kernels of Combo-ID attention in the interpreter: hash, numerics, raggedness, traffic, invariance."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from kernels.combo_id_attention import cases, reference
from kernels.combo_id_attention.configs import CONFIGS, Config
from kernels.combo_id_attention.cost import requested
from kernels.combo_id_attention.kernel import launch
from kernels.combo_id_attention.shipped import sizes_of
from kernels.combo_id_attention.tiles import FIRST_PRIME, SECOND_PRIME, code, load_salt, load_scores
from kernels.meter import meter
from tests.kernels.combo_inputs import Inputs, draw, exact, permuted

TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)
RAGGED = [2, 0, 9, 1]
SMALL = Config(heads=2, candidates=4, num_warps=4)


def check(inputs: Inputs, config: Config = SMALL) -> torch.Tensor:
    output = launch(*inputs, config)
    expected = reference.combo_id_attention(*exact(inputs))
    tolerance = TOLERANCE[output.dtype]
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)
    return output


@DTYPES
@pytest.mark.parametrize("sizes", [[1], [2], [7], RAGGED], ids=str)
def test_the_kernel_equals_the_definition(dtype: torch.dtype, sizes: list[int]) -> None:
    check(draw(sizes, dtype))


@DTYPES
@pytest.mark.parametrize(
    ("user", "item", "heads", "width"), [(0, 1, 1, 4), (1, 1, 1, 16), (0, 9, 2, 8), (17, 2, 3, 5), (2, 17, 5, 24)]
)
def test_odd_numbers_of_fields_heads_and_widths(
    dtype: torch.dtype, user: int, item: int, heads: int, width: int
) -> None:
    check(draw([2, 1], dtype, user=user, item=item, heads=heads, width=width))


@pytest.mark.parametrize("bucket", ["narrow", "wide"])
def test_the_shipped_configurations(bucket: str) -> None:
    check(draw([3, 2], heads=4), CONFIGS[90, bucket])  # pyright: ignore[reportArgumentType]


def test_half_precision_is_as_good_as_that_of_pytorch() -> None:
    """At most twice the error of the same steps in PyTorch with operands of half precision."""
    inputs = draw([7], torch.float16)
    expected = reference.combo_id_attention(*exact(inputs))
    error = (launch(*inputs, SMALL).double() - expected).abs().max()
    rounded = expected.half().double()
    assert error <= 2 * (rounded - expected).abs().max() + 2e-3 * expected.abs().max()


@pytest.mark.parametrize("mode", ["add", "mul", "half"])
def test_every_fusion(mode: reference.MixMode) -> None:
    inputs = draw([3])
    check(inputs._replace(fusion=inputs.fusion._replace(mix=reference.mix(mode, torch.rand(2)))))


def test_codebooks_of_half_precision_beside_tokens_of_single() -> None:
    inputs = draw([3])
    books = inputs.codebooks._replace(first=inputs.codebooks.first.half(), second=inputs.codebooks.second.half())
    check(inputs._replace(codebooks=books))


@pytest.mark.parametrize("sizes", [[0], [0, 0, 0], [0, 3, 0]], ids=str)
def test_empty_requests_are_no_work(sizes: list[int]) -> None:
    check(draw(sizes))


def test_long_ends_and_candidates_beyond_the_last_end() -> None:
    inputs = draw([2, 5])
    short = inputs._replace(ends=torch.tensor([2, 3]))
    assert torch.equal(launch(*short, SMALL), launch(*inputs, SMALL))


def test_ends_out_of_order_neither_hang_nor_leave_the_tables() -> None:
    with meter() as measured:
        output = launch(*draw([4, 4, 4])._replace(ends=torch.tensor([9, 2, 12])), SMALL)
    assert measured.out_of_bounds == 0
    assert output.isfinite().all()


def test_strided_inputs_are_understood_and_left_alone() -> None:
    inputs = draw([3, 2])
    tokens = inputs.items.tokens.transpose(0, 1).contiguous().transpose(0, 1)
    before = [x.clone() for x in inputs.flat]
    strided = inputs._replace(items=inputs.items._replace(tokens=tokens))
    assert torch.equal(launch(*strided, SMALL), launch(*inputs, SMALL))
    assert all(torch.equal(one, other) for one, other in zip(inputs.flat, before, strict=True))


def test_a_closed_filter_leaves_each_field_its_own_value() -> None:
    inputs = draw([2])
    output = check(inputs._replace(fusion=inputs.fusion._replace(tau=torch.ones(8, 8))))
    torch.testing.assert_close(output[:, 5:], inputs.items.tokens[:, :, -16:])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["users", "items"])
def test_a_value_that_is_no_number_shows_as_in_the_definition_and_stays_in_its_request(
    value: float, place: str
) -> None:
    inputs = draw([3, 2])
    fields = inputs.users if place == "users" else inputs.items
    tokens = fields.tokens.clone()
    tokens[1, 0, ::7] = value
    dirty = inputs._replace(**{place: fields._replace(tokens=tokens)})
    output, clean = launch(*dirty, SMALL), launch(*inputs, SMALL)
    own = [3, 4] if place == "users" else [1]
    others = [number for number in range(5) if number not in own]
    assert torch.equal(output[others], clean[others])
    assert torch.equal(output.isnan(), reference.combo_id_attention(*exact(dirty)).isnan())
    assert output[own].isnan().any()


@pytest.mark.usefixtures("sums_in_order")
def test_bits_do_not_depend_on_order_batch_or_grid() -> None:
    inputs = draw(RAGGED)
    order = [2, 3, 0, 1]
    shuffled, rows = permuted(inputs, order)
    output = launch(*inputs, SMALL)
    assert torch.equal(launch(*shuffled, SMALL), output[rows])
    alone, own = permuted(inputs, [2])
    assert torch.equal(launch(*alone, SMALL), output[own])
    for config in (replace(SMALL, candidates=1), replace(SMALL, candidates=16), replace(SMALL, heads=1)):
        assert torch.equal(launch(*inputs, config), output)


@triton.jit
def rows_kernel(
    rows_ptr,
    ids_ptr,
    salt_ptr,
    first_ptr,
    second_ptr,
    FIELDS: tl.constexpr,  # noqa: N803 - a constexpr
    HEADS: tl.constexpr,  # noqa: N803 - a constexpr
    FIRST_SIZE: tl.constexpr,  # noqa: N803 - a constexpr
    SECOND_SIZE: tl.constexpr,  # noqa: N803 - a constexpr
):
    """Rows of all pairs, [codebook, i, j], read out of tables that hold their own row numbers."""
    field, head = tl.arange(0, FIELDS), tl.arange(0, HEADS)
    wanted = (field[:, None] >= 0) & (field[None, :] >= 0)
    ids = tl.load(ids_ptr + field)
    left = code(ids, load_salt(salt_ptr, field, field < FIELDS, FIELDS), FIRST_PRIME)
    right = code(ids, load_salt(salt_ptr + 4 * FIELDS, field, field < FIELDS, FIELDS), SECOND_PRIME)
    place = (field[:, None] * FIELDS + field[None, :])[None, :, :] + head[:, None, None]
    first = load_scores(first_ptr, left, left, wanted, head, HEADS, FIRST_PRIME, FIRST_SIZE)
    second = load_scores(second_ptr, right, right, wanted, head, HEADS, SECOND_PRIME, SECOND_SIZE)
    tl.store(rows_ptr + place, first)
    tl.store(rows_ptr + FIELDS * FIELDS + place, second)


def test_the_kernel_finds_the_same_rows_bit_for_bit() -> None:
    sizes = (2**20, 2**20 - 3)
    edges = [0, 1, 2**31 - 20, 2**31 - 19, 2**31 - 1, 2**31, 2**32, 2**40 + 7, 2**62, 2**63 - 1, -1, -(2**63)]
    ids = torch.cat([torch.tensor(edges), torch.randint(2**62, (52,), generator=torch.Generator().manual_seed(0))])
    salt = reference.field_salt(64, seed=5)
    rows = torch.empty((2, 64, 64), dtype=torch.float32)
    tables = [torch.arange(size, dtype=torch.float32) for size in sizes]
    run: Any = rows_kernel[(1,)]
    run(rows, ids, salt, *tables, 64, 1, *sizes)
    codes = reference.field_codes(ids[None], salt)
    assert torch.equal(rows.long(), reference.pair_rows(codes, codes, sizes)[0].movedim(2, 0))


def test_traffic_is_what_the_closed_form_says_and_within_half_of_the_minimum() -> None:
    """Over the minimum: the user's side once a program, thresholds, and what the first pass hands to the second."""
    case = next(case for case in cases.cases() if case.metered and case.config.startswith("narrow"))
    with meter() as measured:
        case.launch(*case.inputs(0))
    least = case.work.read + case.work.written
    asked = measured.bytes_read + measured.bytes_written
    assert (measured.out_of_bounds, measured.conflicts) == (0, 0)
    assert measured["output_ptr"].bytes_written == case.work.written
    assert asked == requested(sizes_of("narrow", 1, 32), CONFIGS[90, "narrow"])
    assert asked <= 1.2 * least


@pytest.mark.parametrize(("bucket", "limit"), [("narrow", 1.2), ("wide", 1.4)])
def test_a_request_of_a_thousand_candidates_stays_within_half_of_the_minimum(bucket: str, limit: float) -> None:
    sizes = sizes_of(bucket, 1, 1000)  # pyright: ignore[reportArgumentType]
    least = cases.work(sizes)
    assert requested(sizes, CONFIGS[90, bucket]) <= limit * (least.read + least.written)  # pyright: ignore[reportArgumentType]


def test_many_heads_in_several_blocks_also_ask_for_what_the_closed_form_says() -> None:
    case = next(case for case in cases.cases() if case.metered and case.config.startswith("wide"))
    flat = case.inputs(0)
    few = (*flat[:2], flat[2][:2], flat[3][:2], torch.tensor([2], dtype=torch.int32), *flat[5:])
    with meter() as measured:
        case.launch(*few)
    asked = measured.bytes_read + measured.bytes_written
    assert (measured.out_of_bounds, measured.conflicts) == (0, 0)
    assert asked == requested(sizes_of("wide", 1, 2), CONFIGS[90, "wide"])


def test_types_that_the_kernel_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match="not torch\\.float64"):
        launch(*exact(draw([1])), SMALL)
