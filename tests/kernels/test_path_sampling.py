"""Path sampling on the CPU: the operator equals the definition; flags, anchors, invariance, refused arguments."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.devices import H100_SXM, roofline_us
from kernels.path_sampling import (
    Plan,
    anchor_mask,
    pack,
    path_sampling,
    path_selection,
    path_words,
    quantise,
    unpack,
)
from kernels.path_sampling.cost import Sizes, work
from kernels.path_sampling.reference import (
    MAX_WEIGHT,
    OUT_OF_RANGE,
    REFUSED,
    TOO_FEW,
    PathMasks,
    path_sampling_reference,
)
from tests.kernels.path_inputs import SHAPE_NAMES, SHAPES, draw_rows, equal, refuse_a_draw

SHAPED = pytest.mark.parametrize(("rows", "fields", "plan"), SHAPES, ids=SHAPE_NAMES)


def test_confidences_become_weights_as_stated() -> None:
    half = 32767.5
    confidences = [0.0, 1.0, half / MAX_WEIGHT, 1e-9, -0.5, 2.0, math.nan, math.inf, -math.inf]
    assert quantise(torch.tensor(confidences, dtype=torch.float64)).tolist() == [
        0, 65535, 32768, 0, 0, 65535, 0, 65535, 0,
    ]  # fmt: skip
    assert quantise(torch.tensor([0.3])).item() == 19661


@pytest.mark.parametrize("fields", [1, 5, 63, 64])
def test_masks_unpack_to_what_was_packed(fields: int) -> None:
    kept = torch.rand(20, fields, generator=torch.Generator().manual_seed(0)) < 0.5
    kept[0], kept[1] = True, False
    masks = pack(kept)
    assert torch.equal(unpack(masks, fields), kept)
    assert masks[1] == 0
    assert masks[0] == (-1 if fields == 64 else 2**fields - 1)


def test_anchors_name_fields_up_to_the_sign_bit() -> None:
    assert anchor_mask([0, 2, 2]) == 0b101
    assert anchor_mask([63]) == -(1 << 63)
    assert anchor_mask(range(64)) == -1


@SHAPED
def test_the_operator_equals_the_definition(rows: int, fields: int, plan: Plan) -> None:
    weights, keys = draw_rows(rows, fields)
    expected = path_sampling_reference(weights, keys, plan)
    assert equal(path_sampling(weights, keys, plan), expected)
    assert equal(path_selection(weights, path_words(keys, plan), plan.anchors), expected)
    assert expected.masks.shape == (rows, plan.paths)


@SHAPED
def test_paths_keep_anchors_and_as_many_positive_fields_as_asked(rows: int, fields: int, plan: Plan) -> None:
    weights, keys = draw_rows(rows, fields)
    result = path_sampling(weights, keys, plan)
    anchors = unpack(torch.tensor(plan.anchors), fields)
    kept = unpack(result.masks, fields)
    assert (kept & anchors == anchors).all()
    drawn = kept & ~anchors
    assert not (drawn & (weights <= 0)[:, None]).any()
    assert (drawn.sum(-1)[result.flags == 0] == plan.draws).all()


def test_a_row_with_too_few_positive_weights_keeps_them_all_and_is_flagged() -> None:
    weights = torch.tensor([[0, 5, 0, 9, 1], [0, 0, 0, 9, 1]], dtype=torch.int32)
    result = path_sampling(weights, torch.tensor([1, 2]), Plan(paths=3, draws=2, anchors=0b10000))
    assert result.masks.tolist() == [[0b11010] * 3, [0b11000] * 3]
    assert result.flags.tolist() == [0, TOO_FEW]


def test_a_row_with_a_weight_out_of_range_keeps_all_positive_fields_and_is_flagged() -> None:
    weights = torch.tensor([[1, 2, -1, 4], [1, 2, MAX_WEIGHT + 1, 0], [-7, 1, 1, 1], [1, 2, 3, 4]], dtype=torch.int32)
    result = path_sampling(weights, torch.arange(4), Plan(paths=2, draws=2, anchors=0b0001))
    assert result.masks[:2].tolist() == [[0b1011] * 2, [0b0111] * 2]
    assert result.flags.tolist() == [OUT_OF_RANGE, OUT_OF_RANGE, 0, 0]


def test_a_path_whose_draw_refused_all_words_keeps_all_positive_fields_and_its_row_is_flagged() -> None:
    weights, keys = torch.tensor([[0, 5, 4, 3, 1]], dtype=torch.int32), torch.tensor([9])
    words = path_words(keys, Plan(paths=3, draws=1))
    expected = path_selection(weights, words)
    result = path_selection(weights, refuse_a_draw(words, 0, 1))
    assert result.flags.tolist() == [REFUSED]
    assert result.masks[0, 1] == 0b11110
    assert torch.equal(result.masks[0, ::2], expected.masks[0, ::2])


def test_the_largest_weights_do_not_overflow() -> None:
    weights = torch.full((200, 64), MAX_WEIGHT, dtype=torch.int32)
    result = path_sampling(weights, torch.arange(200), Plan(paths=4, draws=63))
    assert (result.flags == 0).all()
    dropped = 63 - (unpack(result.masks, 64).int().argmin(-1))
    assert dropped.min() == 0
    assert dropped.max() == 63


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(9)), size=st.integers(0, 9))
def test_a_row_gets_the_same_paths_in_any_batch(order: list[int], size: int) -> None:
    weights, keys = draw_rows(9, 8)
    plan, chosen = Plan(paths=3, draws=4), torch.tensor(order, dtype=torch.long)[:size]
    whole = path_sampling(weights, keys, plan)
    part = path_sampling(weights[chosen], keys[chosen], plan)
    assert equal(part, PathMasks(whole.masks[chosen], whole.flags[chosen]))


def test_more_paths_and_more_draws_extend_what_was_there() -> None:
    weights, keys = draw_rows(3, 40)
    few = path_sampling(weights, keys, Plan(paths=2, draws=3)).masks
    assert torch.equal(path_sampling(weights, keys, Plan(paths=5, draws=3)).masks[:, :2], few)
    assert torch.equal(path_sampling(weights, keys, Plan(paths=2, draws=6)).masks & few, few)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"version": 1}])
def test_another_seed_or_version_gives_other_paths(changed: dict[str, int]) -> None:
    weights, keys = draw_rows(20, 40)
    one = path_sampling(weights, keys, Plan(paths=4, draws=10))
    other = path_sampling(weights, keys, Plan(paths=4, draws=10, **changed))
    assert (one.masks != other.masks).float().mean() > 0.5
    assert (one.masks[6:] != path_sampling(weights, keys + 1, Plan(paths=4, draws=10)).masks[6:]).all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weights", torch.ones(2, 5), "weights must be int32"),
        ("weights", torch.ones(2, 65, dtype=torch.int32), "1 to 64"),
        ("weights", torch.ones(2, 0, dtype=torch.int32), "1 to 64"),
        ("keys", torch.ones(3, dtype=torch.int64), r"keys must be int64 \[2\]"),
        ("keys", torch.ones(2, dtype=torch.int32), "not torch.int32"),
        ("plan", Plan(paths=1, draws=1, anchors=0b100000), "anchors 0x20 name fields that do not exist"),
        ("plan", Plan(paths=1, draws=5, anchors=1), "5 draws per path, but only 4 of 5"),
    ],
)
def test_arguments_that_do_not_fit_are_named(field: str, value: Tensor | Plan, message: str) -> None:
    arguments: dict[str, Any] = {
        "weights": torch.ones(2, 5, dtype=torch.int32),
        "keys": torch.arange(2),
        "plan": Plan(paths=1, draws=1),
    }
    arguments[field] = value
    with pytest.raises(ValueError, match=message):
        path_sampling(**arguments)


@pytest.mark.parametrize("words", [torch.zeros(2, 1, 1, 3, dtype=torch.int32), torch.zeros(2, 1, 1, 4)])
def test_words_that_do_not_fit_are_named(words: Tensor) -> None:
    with pytest.raises(ValueError, match=r"words must be int32 \[2, P, K, 4\]"):
        path_selection(torch.ones(2, 5, dtype=torch.int32), words)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"paths": 0, "draws": 1}, "paths >= 1"), ({"paths": 1, "draws": -1}, "draws >= 0"),
     ({"paths": 1, "draws": 1, "seed": 1 << 32}, "seed must be"), ({"paths": 1, "draws": 1, "version": -1}, "version")],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**fields)


def test_compulsory_bytes_are_those_of_the_tensors() -> None:
    weights, keys = draw_rows(7, 40)
    plan = Plan(paths=8, draws=5)
    words, result = path_words(keys, plan), path_sampling(weights, keys, plan)

    def size(*tensors: Tensor) -> int:
        return sum(x.numel() * x.element_size() for x in tensors)

    keyed = work(Sizes(rows=7, fields=40, paths=8, draws=5))
    given_words = work(Sizes(rows=7, fields=40, paths=8, draws=5, given_words=True))
    assert (keyed.read, given_words.read) == (size(weights, keys), size(weights, words))
    assert keyed.written == given_words.written == size(*result)
    assert keyed.operations - given_words.operations == 7 * 8 * 5 * 80


def test_drawing_is_bound_by_arithmetic_not_by_memory() -> None:
    needed = work(Sizes(rows=1000, fields=40, paths=8, draws=28))
    assert roofline_us(H100_SXM, needed) == pytest.approx(needed.operations / 16.7e12 * 1e6)
