"""Recall and NDCG of one target, by hand."""

import math

import numpy as np
import pytest

from training.ranking_metrics import ranking_quality


def test_recall_and_ndcg_count_the_ranks_within_each_cutoff() -> None:
    measured = ranking_quality(np.array([1, 3, 5, 6, 10, 11, np.inf, np.inf]))
    assert measured["recall5"] == 3 / 8
    assert measured["recall10"] == 5 / 8
    gains = [1 / math.log2(1 + rank) for rank in (1, 3, 5, 6, 10)]
    assert measured["ndcg5"] == pytest.approx(sum(gains[:3]) / 8)
    assert measured["ndcg10"] == pytest.approx(sum(gains) / 8)


@pytest.mark.parametrize("ranks", [[0.0, 1.0], [np.nan], []])
def test_what_is_no_rank_is_refused(ranks: list[float]) -> None:
    with pytest.raises(ValueError, match="ranks must be 1 or more"):
        ranking_quality(np.array(ranks))
