"""The blocked count sketch: lower bounds hold, one block per key, logs add up."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kernels.path_sampling import Layout, combination_keys, count, sketch_lookup
from kernels.path_sampling.cost import sketch_work
from kernels.path_sampling.sketch import cells

LAYOUTS = [Layout(blocks=512), Layout(blocks=512, rows=8, width=1), Layout(blocks=256, rows=4, width=4, salt=3)]
LAID_OUT = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: f"{x.rows}x{x.width}")


def log(number: int = 4000) -> tuple[Tensor, Tensor]:
    """Keys and their counts, few of them large: the n-th is seen 20000 / n times."""
    keys = combination_keys(torch.arange(number)[:, None], (3,))
    return keys, (20000 // torch.arange(1, number + 1)).to(torch.int32)


def share(layout: Layout, asked: Tensor, true: Tensor) -> tuple[float, float]:
    """Mean over 16 salts of the share of keys whose bound exceeds their count, and its standard error.

    The promise is an expectation over hashes: one salt alone scatters around it, as keys of one block fail together.
    """
    failed = []
    for salt in range(16):
        salted = replace(layout, salt=salt)
        sketch = salted.empty()
        count(sketch, *log(), salted)
        failed.append((sketch_lookup(sketch, asked, salted) > true).double().mean())
    shares = torch.stack(failed)
    return float(shares.mean()), float(shares.std() / 4)


@LAID_OUT
def test_the_bound_fails_no_more_often_than_promised(layout: Layout) -> None:
    mean, error = share(layout, *log())
    assert mean <= 2.0**-layout.rows + 3 * error


@LAID_OUT
def test_a_key_that_was_never_counted_is_zero_as_often(layout: Layout) -> None:
    unseen = combination_keys(torch.arange(10**9, 10**9 + 4000)[:, None], (3,))
    mean, error = share(layout, unseen, torch.zeros(4000))
    assert mean <= 2.0**-layout.rows + 3 * error


@LAID_OUT
def test_bounds_of_frequent_keys_are_near_their_counts(layout: Layout) -> None:
    keys, true = log()
    sketch = layout.empty()
    count(sketch, keys, true, layout)
    bound = sketch_lookup(sketch, keys, layout)
    assert bound.dtype == torch.int32
    assert (bound >= 0).all()
    assert ((true - bound).abs() / true)[:50].mean() < 0.35


@LAID_OUT
def test_what_other_keys_add_is_symmetric_around_zero(layout: Layout) -> None:
    keys, true = log()
    sketch = layout.empty()
    count(sketch, keys, true, layout)
    index, sign = cells(keys, layout)
    noise = sketch.view(-1)[index] * sign - true[:, None]
    above, below = (noise > 0).sum(), (noise < 0).sum()
    assert abs(float(above / (above + below)) - 0.5) < 0.03


@LAID_OUT
def test_a_key_alone_is_counted_exactly(layout: Layout) -> None:
    sketch, keys = layout.empty(), torch.tensor([-5, 1 << 62, 0])
    for _ in range(2):
        count(sketch, keys[:1], torch.tensor([21], dtype=torch.int32), layout)
    assert sketch_lookup(sketch, keys[:1], layout).tolist() == [42]


@LAID_OUT
def test_all_counters_of_a_key_lie_in_one_block(layout: Layout) -> None:
    index, sign = cells(log()[0], layout)
    block = index // (layout.rows * layout.width)
    assert (block == block[:, :1]).all()
    assert block.max() < layout.blocks
    assert block.unique().numel() > 0.98 * layout.blocks
    assert (index // layout.width % layout.rows == torch.arange(layout.rows)).all()
    assert sign.unique().tolist() == [-1, 1]
    assert layout.block_bytes in (32, 64)


def test_sketches_of_two_logs_add_up() -> None:
    layout, (keys, counts) = LAYOUTS[0], log()
    parts = [layout.empty(), layout.empty()]
    for part, rows in zip(parts, (slice(0, 1000), slice(1000, None)), strict=True):
        count(part, keys[rows], counts[rows], layout)
    whole = layout.empty()
    count(whole, keys, counts, layout)
    assert torch.equal(parts[0] + parts[1], whole)


def test_keys_depend_on_fields_and_ids_and_not_on_the_order_of_a_pair() -> None:
    ids = torch.tensor([[1, 2], [2, 1], [1, 1 << 40], [-1, 2]])
    keys = combination_keys(ids, (5, 9))
    assert torch.equal(combination_keys(ids.flip(1), (9, 5)), keys)
    others = [combination_keys(ids, (5, 8)), combination_keys(ids[:, :1], (5,)), combination_keys(ids[:, 1:], (9,))]
    assert torch.cat([keys, others[0], others[1][:1], others[2][:1]]).unique().numel() == 10


def test_lookups_keep_the_shape_of_their_keys() -> None:
    layout = LAYOUTS[0]
    for shape in ((0,), (3, 0, 2), (2, 3)):
        assert sketch_lookup(layout.empty(), torch.zeros(shape, dtype=torch.int64), layout).shape == shape


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": 1, "width": 3}, "power of two, found 3"),
        ({"blocks": 1, "rows": 3}, r"found 4 \* 3 rows \* 2 columns"),
        ({"blocks": 0}, "blocks must be"),
        ({"blocks": 1, "salt": -1}, "salt in"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout(**fields)


def test_a_sketch_of_another_layout_and_triples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not torch.int32 \[512, 4, 2\]"):
        sketch_lookup(LAYOUTS[0].empty(), torch.zeros(1, dtype=torch.int64), LAYOUTS[1])
    with pytest.raises(ValueError, match="one or two ids"):
        combination_keys(torch.zeros(1, 3, dtype=torch.int64), (1, 2, 3))


def test_opcheck_passes() -> None:
    torch.library.opcheck(torch.ops.recserve.sketch_lookup, (LAYOUTS[0].empty(), log(30)[0], 0))


def test_compulsory_bytes_are_key_block_and_bound() -> None:
    needed = sketch_work(100, 32)
    assert (needed.read, needed.written) == (100 * 40, 400)
