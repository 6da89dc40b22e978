"""The numbers that say how codebooks are used."""

import math

import numpy as np
import pytest

from training.layers.codebook_report import codebook_metrics, collision_rate, use


def test_words_used_alike_have_full_entropy_in_nats() -> None:
    found = use(np.arange(300) % 100, 100)
    assert found.utilisation == 1.0
    assert found.entropy == pytest.approx(math.log(100))
    assert found.perplexity == pytest.approx(100)
    assert found.counts.tolist() == [3] * 100


def test_one_word_for_all_has_none() -> None:
    found = use(np.full(50, 7), 10)
    assert (found.utilisation, found.entropy, found.perplexity) == (0.1, 0.0, 1.0)


def test_a_hand_computed_case() -> None:
    found = use(np.array([0, 0, 1, 3]), 4)
    assert found.utilisation == 0.75
    assert found.entropy == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))


def test_the_collision_rate_counts_items_that_others_ids_name() -> None:
    assert collision_rate(np.array([[1, 2], [1, 2], [2, 1], [1, 2]])) == 0.5
    assert collision_rate(np.array([[1, 2], [2, 2]])) == 0.0


def test_metrics_are_means_over_codebooks() -> None:
    codes = np.stack([np.arange(8) % 4, np.zeros(8, int)], axis=1)
    measured = codebook_metrics(codes, 4)
    assert measured["utilisation"] == pytest.approx((1 + 0.25) / 2)
    assert measured["entropy"] == pytest.approx(math.log(4) / 2)
    assert measured["perplexity"] == pytest.approx(2.5)
    assert measured["collision_rate"] == 0.5


@pytest.mark.parametrize("codes", [np.zeros(0, int), np.array([0, 4]), np.array([-1, 0])])
def test_codes_outside_the_codebook_are_refused(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"0\.\.3"):
        use(codes, 4)
