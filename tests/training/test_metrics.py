"""The measures against small cases worked out by hand, and against pairwise counting."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import auc, gauc, log_loss


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def pairwise(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(p, n) for p in scores[labels == 1] for n in scores[labels == 0]]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def test_auc_of_a_hand_computed_case() -> None:
    # Pairs: 0.8 beats 0.1 and 0.4; 0.35 beats 0.1 and loses to 0.4.
    assert auc(array(0, 0, 1, 1), array(0.1, 0.4, 0.35, 0.8)) == 0.75


def test_ties_count_half() -> None:
    assert auc(array(0, 1), array(0.3, 0.3)) == 0.5
    # 2 beats 1, 1 ties 1, 2 ties 2, 1 loses to 2.
    assert auc(array(1, 1, 0, 0), array(2, 1, 1, 2)) == 0.5
    assert auc(array(1, 1, 0, 0), array(2, 3, 1, 2)) == 0.875


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40).filter(
        lambda rows: len({label for _, label, _ in rows}) == 2
    )
)
def test_auc_and_gauc_equal_pairwise_counting(rows: list[tuple[int, int, int]]) -> None:
    users, labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    assert auc(labels, scores) == pytest.approx(pairwise(labels, scores), abs=1e-12)
    mixed = [user for user in set(users.tolist()) if len(set(labels[users == user].tolist())) == 2]
    if not mixed:
        with pytest.raises(ValueError, match="GAUC needs a user with both classes"):
            gauc(users, labels, scores)
        return
    weights = [int((users == user).sum()) for user in mixed]
    values = [pairwise(labels[users == user], scores[users == user]) for user in mixed]
    assert gauc(users, labels, scores) == pytest.approx(np.average(values, weights=weights), abs=1e-12)


def test_gauc_weights_users_by_their_samples_and_leaves_out_one_sided_ones() -> None:
    users = np.array([7, 7, 9, 9, 9, 3, 3])
    labels = array(1, 0, 1, 0, 0, 1, 1)
    scores = array(2, 1, 0, 1, 0, 5, -5)
    # User 7: 1. User 9: loses one pair, ties one: 0.25. User 3 has no negative.
    assert gauc(users, labels, scores) == pytest.approx((2 * 1 + 3 * 0.25) / 5)


def test_log_loss_is_the_mean_cross_entropy_and_survives_large_logits() -> None:
    expected = (math.log(2) - math.log(1 / (1 + math.exp(-2)))) / 2
    assert log_loss(array(0, 1), array(0, 2)) == pytest.approx(expected)
    assert log_loss(array(0, 1), array(1000, 1000)) == 500.0


def test_one_class_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="0 positive and 2 negative"):
        auc(array(0, 0), array(1, 2))


@pytest.mark.parametrize("measure", [auc, log_loss])
def test_a_score_that_is_not_a_number_is_an_error(measure: Callable[[np.ndarray, np.ndarray], float]) -> None:
    with pytest.raises(ValueError, match="1 of 2 scores are not a number"):
        measure(array(0, 1), array(float("nan"), 1))


def test_lists_of_unlike_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="the same length"):
        auc(array(0, 1), array(1))
