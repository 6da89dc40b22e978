"""Path sampling on a GPU: the bits of the definition; skipped without one."""

import pytest
import torch

from kernels.path_sampling import (
    Layout,
    PathMasks,
    Plan,
    count,
    path_sampling,
    path_selection,
    path_words,
    sketch_lookup,
)
from kernels.path_sampling.reference import path_sampling_reference, path_selection_reference
from kernels.path_sampling.sketch import sketch_lookup_reference
from tests.kernels.path_inputs import SHAPE_NAMES, SHAPES, draw_rows, equal, refuse_a_draw

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
LARGE = (1000, 64, Plan(paths=33, draws=20, anchors=-(1 << 63) + 6, seed=(1 << 32) - 1, version=1 << 31))


def on_cpu(result: PathMasks) -> PathMasks:
    return PathMasks(result.masks.cpu(), result.flags.cpu())


@pytest.mark.parametrize(("rows", "fields", "plan"), [*SHAPES, LARGE], ids=[*SHAPE_NAMES, "large"])
def test_both_modes_have_the_bits_of_the_definition(rows: int, fields: int, plan: Plan) -> None:
    weights, keys = draw_rows(rows, fields)
    expected = path_sampling_reference(weights, keys, plan)
    assert equal(on_cpu(path_sampling(weights.cuda(), keys.cuda(), plan)), expected)
    words = path_words(keys.cuda(), plan)
    assert torch.equal(words.cpu(), path_words(keys, plan))
    assert equal(on_cpu(path_selection(weights.cuda(), words, plan.anchors)), expected)


def test_refused_words_are_flagged() -> None:
    weights, keys = draw_rows(7, 40)
    words = refuse_a_draw(path_words(keys, Plan(paths=9, draws=2)), 6, 8)
    assert equal(on_cpu(path_selection(weights.cuda(), words.cuda())), path_selection_reference(weights, words))


@pytest.mark.parametrize("rows", [4, 8])
@pytest.mark.parametrize("number", [0, 1, 100_003])
def test_lookups_have_the_bits_of_the_definition(rows: int, number: int) -> None:
    layout = Layout(blocks=5000, rows=rows, salt=9)
    sketch, keys = layout.empty(), torch.arange(number) * 0x9E3779B97F4A7
    count(sketch, keys, (torch.arange(number) % 97).to(torch.int32), layout)
    bounds = sketch_lookup(sketch.cuda(), keys.cuda(), layout)
    assert torch.equal(bounds.cpu(), sketch_lookup_reference(sketch, keys, layout))
