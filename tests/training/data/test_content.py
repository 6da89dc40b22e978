"""Categories and vectors out of attributes, by hand and against numpy's own decomposition."""

import numpy as np
import pytest

from training.data.content import (
    GRAPH_WIDTH,
    Attributes,
    attribute_vectors,
    categories,
    tf_idf,
    truncated_svd,
    unit_rows,
)


def held(*sets: set[int]) -> Attributes:
    """The attributes of items 1, 2, ..."""
    pairs = [(item, attribute) for item, attributes in enumerate(sets, 1) for attribute in sorted(attributes)]
    return Attributes(*np.array(pairs, np.int64).reshape(-1, 2).T)


def test_an_item_is_of_its_rarest_frequent_attribute() -> None:
    # Attribute 0: 300 items, 1: 100, 2: 3 of them (1 %), 3: 2 of them (below 1 %).
    sets = [{0} | ({1} if item < 100 else set()) for item in range(300)]
    for item in (0, 1, 2):
        sets[item].add(2)
    for item in (2, 3):
        sets[item].add(3)
    found = categories(held(*sets), 300)
    assert found[0] == 0
    assert found[1:4].tolist() == [3, 3, 3]
    assert found[4] == 2, "attribute 3 is too rare to be a category"
    assert (found[101:] == 1).all()


def test_of_equally_rare_attributes_the_lower_one_counts() -> None:
    assert categories(held({4, 7}, {4}, {7}), 3).tolist() == [0, 1, 1, 2]


def test_an_item_without_a_frequent_attribute_has_no_category() -> None:
    sets = [{0}] * 198 + [{1}, set()]
    assert categories(held(*sets), 200)[-2:].tolist() == [0, 0]


def test_weights_are_tf_idf_and_attributes_of_one_item_are_left_out() -> None:
    matrix = tf_idf(held({0, 1, 5}, {0}, {1, 0}, set()), 4)
    idf = np.log([4 / 3, 4 / 2])
    expected = np.array([idf / np.linalg.norm(idf), [1, 0], idf / np.linalg.norm(idf), [0, 0]])
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(30, 9), (9, 30), (12, 12)])
def test_the_reduction_is_the_truncated_svd(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    reduced = truncated_svd(matrix, 5)
    np.testing.assert_allclose(np.abs(reduced), np.abs(left[:, :5] * values[:5]), atol=1e-9)
    assert (reduced[np.abs(reduced).argmax(axis=0), np.arange(5)] > 0).all()


def test_items_with_common_attributes_are_close_and_those_without_any_are_zeros() -> None:
    vectors = attribute_vectors(held({0, 1, 2}, {0, 1, 2}, {3, 4}, {3, 4}, set(), {9}, {0, 3}), 7)
    assert vectors.shape == (8, GRAPH_WIDTH)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 1, 1, 1, 0, 0, 1], atol=1e-6)
    alike = vectors @ vectors.T
    assert alike[1, 2] == pytest.approx(1, abs=1e-5)
    assert alike[1, 3] < 0.5


def test_a_row_of_rounding_is_zeros() -> None:
    assert unit_rows(np.array([[3.0, 4.0], [1e-9, 0.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0, 0], [0, 0]]


def test_an_item_outside_the_kept_directions_is_zeros_and_not_noise() -> None:
    # 128 groups of four, not quite apart, then two items with an attribute of their own: the 129th direction.
    random = np.random.default_rng(0)
    groups = [{*range(5 * group, 5 * group + 5), int(random.integers(640))} for group in range(128) for _ in range(4)]
    vectors = attribute_vectors(held(*groups, {999}, {999}), len(groups) + 2)
    np.testing.assert_allclose(np.linalg.norm(vectors[1:-2], axis=1), 1, atol=1e-5)
    assert not vectors[-2:].any()
