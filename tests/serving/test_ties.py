"""The order of items with equal scores is free; nothing else is."""

import numpy as np
import pytest

from serving import golden

ITEMS = [7, 3, 5, 9, 2, 8]
SCORES = [0.9, 0.5, 0.5, 0.5, 0.2, 0.2]
INFINITE = [0.9, 0.8, 0.7, 0.6, -np.inf, -np.inf]


def is_right(items: list[int], scores: list[float], expected_scores: list[float], tolerance: float = 1e-5) -> bool:
    expected = {"items": np.array([ITEMS, ITEMS]), "scores": np.array([expected_scores] * 2, np.float32)}
    actual = {"items": np.array([ITEMS, items]), "scores": np.array([expected_scores, scores], np.float32)}
    return golden.compare(expected, actual, tolerance).ok


@pytest.mark.parametrize(
    ("items", "expected_scores"),
    [
        ([7, 9, 3, 5, 2, 8], SCORES),
        ([7, 5, 9, 3, 8, 2], SCORES),
        ([7, 3, 5, 9, 4, 2], SCORES),
        ([7, 3, 5, 9, 4, 1], SCORES),
        ([7, 3, 5, 9, 4, 1], INFINITE),
        ([7, 3, 9, 5, 2, 8], [0.9, 0.8, 0.5, 0.5 - 3e-7, 0.2, 0.1]),
        ([7, 5, 3, 9, 2, 8], [0.1, 0.2, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_items_may_change_places_within_a_tie_and_at_a_tie_that_is_cut_off(
    items: list[int], expected_scores: list[float]
) -> None:
    assert is_right(items, expected_scores, expected_scores)
    assert not is_right(items, expected_scores, expected_scores, tolerance=0.0)


@pytest.mark.parametrize(
    ("items", "scores", "expected_scores"),
    [
        ([3, 7, 5, 9, 2, 8], SCORES, SCORES),
        ([7, 3, 5, 2, 9, 8], SCORES, SCORES),
        ([7, 3, 5, 4, 2, 8], SCORES, SCORES),
        ([7, 3, 5, 9, 2, 2], SCORES, SCORES),
        ([7, 3, 5, 9, 2, 7], SCORES, SCORES),
        ([7, 3, 5, 9, 2, 4], [0.9, 0.5, 0.5, 0.5, 0.2, 0.1], [0.9, 0.5, 0.5, 0.5, 0.2, 0.3]),
        ([8, 4, 6, 10, 3, 9], SCORES, SCORES),
        ([1, 4, 6, 10, 11, 12], [0.5] * 6, [0.5] * 6),
        ([7, 3, 5, 1, 4, 6], [0.9, 0.5, 0.5, 0.2, 0.2, 0.2], [0.9, 0.5, 0.5, 0.2, 0.2, 0.2][::-1]),
        ([7, 3, 9, 5, 2, 8], [0.9, 0.8, 0.5, 0.49, 0.2, 0.1], [0.9, 0.8, 0.5, 0.49, 0.2, 0.1]),
        ([7, 3, 9, 5, 2, 8], [3e-6, 2.5e-6, 2e-6, 1e-6, 5e-7, 1e-7], [3e-6, 2.5e-6, 2e-6, 1e-6, 5e-7, 1e-7]),
        ([7, 3, 9, 5, 2, 8], [0.1, 0.9, 0.5, 0.5, 0.7, 0.3], [0.1, 0.9, 0.5, 0.5, 0.7, 0.3]),
    ],
)
def test_a_wrong_item_never_passes_for_a_tie(
    items: list[int], scores: list[float], expected_scores: list[float]
) -> None:
    assert not is_right(items, scores, expected_scores)


def test_integers_without_scores_of_their_shape_must_be_equal() -> None:
    expected = {"items": np.array([[1, 2]]), "scores": np.array([[0.5, 0.5, 0.1]], np.float32)}
    assert not golden.compare(expected, {**expected, "items": np.array([[2, 1]])}, 1e-5).ok
    assert not golden.compare({"items": np.array([[1, 2]])}, {"items": np.array([[2, 1]])}, 1e-5).ok


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_infinity_equals_the_same_infinity_only(dtype: type) -> None:
    expected = {"scores": np.array([1.0, -np.inf, np.inf], dtype)}
    assert golden.compare(expected, {"scores": expected["scores"].copy()}, 0.0).ok
    for wrong in ([1.0, np.inf, np.inf], [1.0, -6e4, np.inf], [-np.inf, -np.inf, np.inf], [1.0, np.nan, np.inf]):
        assert not golden.compare(expected, {"scores": np.array(wrong, dtype)}, 1e-5).ok


def test_half_precision_has_a_tolerance_of_its_own() -> None:
    expected = np.array([0.5, 100.0])
    near = expected * (1 + 2e-3)
    half, single = ({"y": expected.astype(dtype)} for dtype in (np.float16, np.float32))
    assert golden.compare(half, {"y": near.astype(np.float16)}, 1e-5).ok
    assert not golden.compare(half, {"y": near.astype(np.float16)}, 0.0).ok
    assert not golden.compare(half, {"y": (expected * 1.1).astype(np.float16)}, 1e-5).ok
    assert not golden.compare(single, {"y": near.astype(np.float32)}, 1e-5).ok
