"""The kernel of low-rank attention in the interpreter: numerics, raggedness, traffic, invariance."""

import pytest
import torch

from kernels.low_rank_attention import cases, reference
from kernels.low_rank_attention.kernel import CONFIGS, Bucket, Config, choose, launch, launch_absorbed
from kernels.low_rank_attention.reference import Variant
from kernels.meter import meter
from tests.kernels.low_rank_inputs import Inputs, draw, exact, permuted

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3}
VARIANTS = pytest.mark.parametrize("variant", ["linear", "softmax"])
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)
RAGGED = [5, 0, 64, 1, 65, 7]
RANKS = torch.tensor([20, 3, 0, 7, 1, 19], dtype=torch.int32)
SMALL = Config(block=16, precision="ieee", reuse=1)
"""Two tiles of 16 per program at rank 20."""


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    tolerance = TOLERANCE[actual.dtype]
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


@VARIANTS
@DTYPES
@pytest.mark.parametrize("sizes", [[1], [2], [7], [63], [64], [65], [1000], RAGGED], ids=str)
def test_the_kernel_equals_the_definition(variant: Variant, dtype: torch.dtype, sizes: list[int]) -> None:
    inputs = draw(sizes, dtype)
    for config in CONFIGS[90, dtype].values():
        close(
            launch(*inputs, variant=variant, config=config),
            reference.low_rank_attention(*exact(inputs), variant=variant),
        )


@VARIANTS
@DTYPES
@pytest.mark.parametrize("bucket", ["narrow", "wide"])
def test_users_of_unlike_ranks_and_garbage_beyond_them(variant: Variant, dtype: torch.dtype, bucket: Bucket) -> None:
    inputs = draw(RAGGED, dtype)
    beyond = (torch.arange(20) >= RANKS[:, None])[:, None, :, None]
    dirty = inputs._replace(
        keys=inputs.keys.masked_fill(beyond, torch.nan), values=inputs.values.masked_fill(beyond, torch.inf)
    )
    output = launch(*dirty, ranks=RANKS, variant=variant, config=CONFIGS[90, dtype][bucket])
    close(output, reference.low_rank_attention(*exact(inputs), RANKS, variant))


@pytest.mark.parametrize(("rank", "width"), [(1, 1), (7, 3), (33, 24), (64, 40)])
def test_odd_sizes_of_rank_and_width(rank: int, width: int) -> None:
    inputs = draw([3, 17], rank=rank, width=width, heads=3)
    close(launch(*inputs, config=SMALL), reference.low_rank_attention(*exact(inputs)))


@DTYPES
@pytest.mark.parametrize("sizes", [[1], [65], RAGGED], ids=str)
def test_the_absorbed_kernel_equals_the_definition(dtype: torch.dtype, sizes: list[int]) -> None:
    targets = draw(sizes, dtype).queries.flatten(1)
    product, bias = torch.randn(len(sizes), 16, 80).to(dtype) / 4, torch.randn(len(sizes), 80).to(dtype)
    ends = torch.tensor(sizes).cumsum(0)
    for config in CONFIGS[90, dtype].values():
        expected = reference.absorbed_attention(targets.double(), ends, product.double(), bias.double())
        close(launch_absorbed(targets, ends, product, bias, config), expected)


@pytest.mark.parametrize("sizes", [[0], [0, 0, 0], [0, 3, 0]], ids=str)
def test_empty_requests_are_no_work(sizes: list[int]) -> None:
    inputs = draw(sizes)
    assert torch.equal(launch(*inputs, config=SMALL).isnan(), torch.zeros(sum(sizes), 16, dtype=torch.bool))


def test_int32_ends_and_candidates_beyond_the_last_end() -> None:
    inputs = draw([2, 20])
    short = inputs._replace(ends=torch.tensor([2, 9], dtype=torch.int32))
    assert torch.equal(launch(*short, config=SMALL), launch(*inputs, config=SMALL))


def test_queries_cut_out_of_a_wider_table_are_read_in_place() -> None:
    inputs = draw([20, 5])
    table = torch.randn(25, 40)
    table[:, 8:24] = inputs.queries.flatten(1)
    cut = table[:, 8:24].unflatten(1, (2, 8))
    strided = inputs._replace(queries=cut, keys=inputs.keys.transpose(1, 2).contiguous().transpose(1, 2))
    with meter({"table": cut}) as measured:
        assert torch.equal(launch(*strided, config=SMALL), launch(*inputs, config=SMALL))
    assert measured.out_of_bounds == 0
    assert measured["table"].bytes_read > 0


@VARIANTS
def test_nan_and_infinity_in_a_query_stay_in_its_row(variant: Variant) -> None:
    inputs = draw([20])
    dirty = inputs.queries.clone()
    dirty[1], dirty[2] = torch.nan, torch.inf
    ranks = torch.tensor([13])
    clean = launch(*inputs, ranks=ranks, variant=variant, config=SMALL)
    output = launch(*inputs._replace(queries=dirty), ranks=ranks, variant=variant, config=SMALL)
    expected = reference.low_rank_attention(*exact(inputs._replace(queries=dirty)), ranks, variant)
    kept = [0, *range(3, 20)]
    assert torch.equal(output[kept], clean[kept])
    assert torch.equal(output.isnan(), expected.isnan())
    assert torch.equal(output.isinf(), expected.isinf())


@pytest.mark.usefixtures("sums_in_order")
@VARIANTS
def test_bits_do_not_depend_on_order_batch_or_grid(variant: Variant) -> None:
    inputs = draw(RAGGED)
    order = [4, 2, 5, 0, 1, 3]
    shuffled, rows = permuted(inputs, order)
    output = launch(*inputs, variant=variant, config=SMALL)
    assert torch.equal(launch(*shuffled, variant=variant, config=SMALL), output[rows])
    alone, own = permuted(inputs, [4])
    assert torch.equal(launch(*alone, variant=variant, config=SMALL), output[own])
    for block, reuse in ((16, 0.5), (16, 4), (32, 1), (64, 20)):
        config = Config(block, "ieee", reuse=reuse)
        assert torch.equal(launch(*inputs, variant=variant, config=config), output)


METERED = {case.config: case for case in cases.cases() if case.metered}


@pytest.mark.parametrize("config", METERED)
def test_traffic_is_the_compulsory_minimum(config: str) -> None:
    case = METERED[config]
    with meter() as measured:
        case.launch(*case.inputs(0))
    least = case.work.read + case.work.written
    assert (measured.out_of_bounds, measured.conflicts) == (0, 0)
    assert measured.bytes_written == case.work.written
    assert measured.bytes_read + measured.bytes_written <= 1.05 * least
    assert measured.sector_bytes <= 1.001 * least + 256


@pytest.mark.parametrize("sizes", [[200] * 8, [4000]], ids=["eight small requests", "one large request"])
def test_batches_and_large_requests_also_stay_near_the_minimum(sizes: list[int]) -> None:
    inputs = draw(sizes, heads=1, rank=32)
    with meter() as measured:
        output = launch(*inputs)
    least = sum(x.numel() * x.element_size() for x in (*inputs, output))
    assert measured.bytes_read + measured.bytes_written <= 1.05 * least


def test_small_programs_read_the_state_again_and_again() -> None:
    """The control of the two tests above: what they bound does grow where programs are short."""
    inputs = draw([1000], heads=1, rank=32)
    with meter() as measured:
        output = launch(*inputs, config=Config(64, "ieee", reuse=1))
    least = sum(x.numel() * x.element_size() for x in (*inputs, output))
    assert measured.bytes_read + measured.bytes_written > 1.4 * least


def test_the_bucket_follows_from_the_size_of_the_state() -> None:
    table = CONFIGS[90, torch.float32]
    assert choose(torch.empty(1, 4, 16), 32 * 16) == table["narrow"]
    assert choose(torch.empty(1, 4, 64), 64 * 64) == table["wide"]
    with pytest.raises(ValueError, match=r"not torch\.bfloat16"):
        choose(torch.empty(1, dtype=torch.bfloat16), 1)


def test_inputs_are_left_alone() -> None:
    inputs = draw(RAGGED)
    before = Inputs(*(x.clone() for x in inputs))
    launch(*inputs, config=SMALL)
    assert all(torch.equal(one, other) for one, other in zip(inputs, before, strict=True))
