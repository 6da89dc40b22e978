"""The kernels of path sampling in the interpreter: bits, invariance, traffic."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.meter import meter
from kernels.path_sampling import Layout, PathMasks, Plan, cases, count, path_words
from kernels.path_sampling.kernel import CONFIGS, Config, SketchConfig, launch, launch_given, launch_sketch
from kernels.path_sampling.philox import WORD, Words, philox
from kernels.path_sampling.reference import MAX_WEIGHT, path_sampling_reference, path_selection_reference
from kernels.path_sampling.sketch import sketch_lookup_reference
from tests.kernels.path_inputs import SHAPE_NAMES, SHAPES, draw_rows, equal, refuse_a_draw

WIDE = CONFIGS[90, "fields64"]


@triton.jit
def philox_kernel(block_ptr, counter_ptr, stream: Any):
    """One block of `tl.philox` per program."""
    at = tl.program_id(0) * 4
    c0, c1 = tl.load(counter_ptr + at), tl.load(counter_ptr + at + 1)
    c2, c3 = tl.load(counter_ptr + at + 2), tl.load(counter_ptr + at + 3)
    w0, w1, w2, w3 = tl.philox(stream, c0, c1, c2, c3)  # pyright: ignore[reportGeneralTypeIssues]
    tl.store(block_ptr + at, w0.to(tl.int64))
    tl.store(block_ptr + at + 1, w1.to(tl.int64))
    tl.store(block_ptr + at + 2, w2.to(tl.int64))
    tl.store(block_ptr + at + 3, w3.to(tl.int64))


@pytest.mark.parametrize("key", [(0, 0), (WORD, WORD), (0xA4093822, 0x299F31D0)])
def test_the_generator_is_that_of_triton(key: tuple[int, int]) -> None:
    counters = torch.tensor([[0, 0, 0, 0], [WORD] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]])
    blocks = torch.zeros_like(counters)
    signed = torch.where(counters > WORD // 2, counters - WORD - 1, counters).to(torch.int32)
    philox_kernel[(3,)](blocks, signed, Plan(paths=1, draws=1, seed=key[0], version=key[1]).stream)
    assert torch.equal(blocks & WORD, torch.stack(philox(Words(*counters.unbind(1)), key), dim=1))


@pytest.mark.parametrize(("rows", "fields", "plan"), SHAPES, ids=SHAPE_NAMES)
def test_the_kernel_equals_the_definition(rows: int, fields: int, plan: Plan) -> None:
    weights, keys = draw_rows(rows, fields)
    expected = path_sampling_reference(weights, keys, plan)
    with meter() as measured:
        assert equal(PathMasks(*launch(weights, keys, plan)), expected)
        assert equal(PathMasks(*launch_given(weights, path_words(keys, plan), plan.anchors)), expected)
    assert (measured.out_of_bounds, measured.conflicts) == (0, 0)


def test_a_thousand_rows_of_one_path() -> None:
    weights, keys = draw_rows(1000, 5)
    plan, tile = Plan(paths=1, draws=2), replace(WIDE, fields=8, rows=128, paths=1)
    assert equal(PathMasks(*launch(weights, keys, plan, tile)), path_sampling_reference(weights, keys, plan))


def test_refused_words_are_told_from_accepted_ones() -> None:
    weights, keys = draw_rows(7, 40)
    words = refuse_a_draw(path_words(keys, Plan(paths=9, draws=2)), 6, 8)
    words[0, 0, 0, :3] = 0
    expected = path_selection_reference(weights, words)
    assert expected.flags.tolist()[0] == 0
    assert expected.flags.tolist()[6] == 4
    assert equal(PathMasks(*launch_given(weights, words, 0)), expected)


def test_the_largest_weights_do_not_overflow() -> None:
    weights, keys, plan = torch.full((2, 64), MAX_WEIGHT, dtype=torch.int32), torch.arange(2), Plan(paths=8, draws=6)
    assert equal(PathMasks(*launch(weights, keys, plan)), path_sampling_reference(weights, keys, plan))


def test_bits_do_not_depend_on_tile_or_grid() -> None:
    weights, keys = draw_rows(7, 30)
    plan = Plan(paths=5, draws=4, anchors=0b11, seed=2)
    output = PathMasks(*launch(weights, keys, plan))
    for fields, rows, paths in ((32, 1, 8), (64, 8, 1), (32, 2, 2), (64, 1, 4)):
        tile = Config(fields=fields, rows=rows, paths=paths, num_warps=1, num_stages=1)
        assert equal(PathMasks(*launch(weights, keys, plan, tile)), output)


def test_bits_do_not_depend_on_the_order_of_the_batch() -> None:
    weights, keys = draw_rows(7, 30)
    plan, order = Plan(paths=5, draws=3), torch.tensor([4, 2, 6, 0])
    masks, flags = launch(weights, keys, plan)
    assert equal(PathMasks(*launch(weights[order], keys[order], plan)), PathMasks(masks[order], flags[order]))


def test_inputs_that_are_not_contiguous_are_read_right() -> None:
    weights, keys = draw_rows(7, 20)
    plan = Plan(paths=3, draws=2)
    spread = torch.full((7, 40), 99, dtype=torch.int32)[:, ::2]
    spread.copy_(weights)
    every_other = torch.zeros(14, dtype=torch.int64)[::2]
    every_other.copy_(keys)
    output = PathMasks(*launch(weights, keys, plan))
    assert equal(PathMasks(*launch(spread, every_other, plan)), output)
    words = path_words(keys, plan).transpose(1, 2).contiguous().transpose(1, 2)
    assert equal(PathMasks(*launch_given(spread, words, 0)), output)


LAYOUTS = [Layout(blocks=77), Layout(blocks=40, rows=8, width=1, salt=WORD), Layout(blocks=9, rows=4, width=4)]


def counted(layout: Layout, number: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    keys = torch.randint(-(1 << 63), (1 << 63) - 1, (number,), generator=random)
    sketch = layout.empty()
    count(sketch, keys[::2], torch.randint(1, 100, keys[::2].shape, generator=random, dtype=torch.int32), layout)
    return sketch, keys


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: f"{x.rows}x{x.width}")
@pytest.mark.parametrize("number", [0, 1, 7, 128, 1000])
def test_the_lookup_equals_the_definition(layout: Layout, number: int) -> None:
    sketch, keys = counted(layout, number)
    expected = sketch_lookup_reference(sketch, keys, layout)
    for tile in (128, 32):
        bounds = launch_sketch(sketch, keys, layout, SketchConfig(keys=tile, num_warps=1, num_stages=1))
        assert torch.equal(bounds, expected)


METERED = {case.config: case for case in cases.cases() if case.metered}


@pytest.mark.parametrize("config", METERED)
def test_traffic_is_the_compulsory_minimum(config: str) -> None:
    case = METERED[config]
    arguments = case.inputs(0)
    with meter() as measured:
        output = case.launch(*arguments)
    assert (measured.out_of_bounds, measured.conflicts) == (0, 0)
    assert (measured.bytes_read, measured.bytes_written) == (case.work.read, case.work.written)
    expected = case.reference(*arguments)
    assert all(map(torch.equal, *((x,) if isinstance(x, Tensor) else x for x in (output, expected))))


def test_many_paths_still_read_their_row_once() -> None:
    weights, keys = draw_rows(2, 64)
    with meter() as measured:
        launch(weights, keys, Plan(paths=40, draws=1))
    assert measured.bytes_read == 2 * (64 * 4 + 8)
    assert measured.bytes_written == 2 * (40 * 8 + 4)
