"""Finished runs by the events before each test sample."""

import numpy as np
import pytest

from recserve.studies import history_lengths
from recserve.studies.history_lengths import Row
from tests.training.click_views import view
from training.data.click import HISTORY
from training.data.planted_clicks import planted_clicks
from training.metrics import auc


def test_a_range_holds_the_samples_with_so_many_events_before_whatever_a_system_keeps_of_them() -> None:
    test = view(planted_clicks(), frozenset({HISTORY}), 4).test
    before = history_lengths.lengths(test)
    log = test.source.log
    for number in range(0, len(test), 50):
        own = log.user == test.user[number]
        assert before[number] == (own & (log.time < test.time[number])).sum()
    assert before.max() > 30 > before.min(), "more than the four events that the view keeps"
    logits = np.random.default_rng(0).normal(size=len(test))
    rows = history_lengths.measured(("planted", "din", 0), test, logits, {"few": (0, 29), "many": (30, 10**6)})
    assert [(row.events, row.samples) for row in rows] == [("few", (before < 30).sum()), ("many", (before >= 30).sum())]
    assert rows[1].auc == auc(test.label[before >= 30], logits[before >= 30])


def test_figures_of_a_range_are_means_over_seeds() -> None:
    rows = [Row("d", "s", seed, "few", 7, 0.6 + 0.1 * seed, 0.5) for seed in (0, 1)]
    (one,) = history_lengths.averaged([*rows, Row("d", "other", 0, "few", 7, 0.1, 0.1)])[:1]
    assert (one["seeds"], one["samples"], one["auc"]["mean"]) == ([0, 1], 7, pytest.approx(0.65))
    assert one["by_seed"]["gauc"] == [0.5, 0.5]
