"""From records to figures, and the arrivals that make them."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from loadtest.arrivals import poisson
from loadtest.bench import highest_rate, keeps
from loadtest.records import Records
from loadtest.summary import cdf, summarise

ROWS = [
    (1.5, 30.0, 1.0, 8, "ok"),
    (0.2, 10.0, 0.0, 4, "ok"),
    (0.7, 99.0, 0.0, 4, "QueueFull"),
    (1.1, 5.0, 0, 4, "wrong"),
]


def test_arrivals_are_poisson_and_follow_from_the_seed() -> None:
    times = np.array(list(islice(poisson(50.0, 3), 20_000)))
    gaps = np.diff(times)
    assert (gaps > 0).all()
    assert abs(gaps.mean() - 0.02) < 0.001
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05, "as spread as their mean, unlike a constant rate"
    assert list(islice(poisson(50.0, 3), 10)) == times[:10].tolist()
    with pytest.raises(ValueError, match="rate is 0"):
        next(poisson(0.0, 1))


def test_records_are_saved_joined_and_cut(tmp_path: Path) -> None:
    Records.of(ROWS[:2]).save(tmp_path / "one.npz")
    joined = Records.joined([Records.load(tmp_path / "one.npz"), Records.of(ROWS[2:])])
    assert joined.intended.tolist() == [0.2, 0.7, 1.1, 1.5]
    assert joined.errors == {"QueueFull": 1}
    assert joined.wrong == 1
    late = joined.between(1.0, 1.5)
    assert late.outcome.tolist() == ["wrong"]
    assert late.intended == pytest.approx([0.1])
    assert len(Records.of([]).latency) == 0


def test_only_right_answers_count_for_latency_and_rate() -> None:
    found = summarise(Records.of(ROWS), 2.0)
    assert (found["requests"], found["ok"], found["wrong"], found["errors"]) == (4, 2, 1, {"QueueFull": 1})
    assert found["rate"] == 1.0
    assert found["p50_ms"] == 20.0
    assert found["max_ms"] == 30.0
    assert [second["rate"] for second in found["over_time"]] == [1, 1]
    nothing = summarise(Records.of([]), 2.0)
    assert nothing["p99_ms"] is nothing["max_ms"] is None
    assert nothing["cdf"] == nothing["over_time"] == []


def test_the_distribution_ends_with_the_slowest_request() -> None:
    points = cdf(np.arange(1.0, 1001.0))
    shares = [share for _, share in points]
    assert shares == sorted(shares)
    assert points[-1] == [1000.0, 1.0]


def test_a_rate_keeps_the_budget_only_if_every_request_was_answered_right() -> None:
    good = {"offered": 100.0, "p99_ms": 19.0, "requests": 50, "ok": 50}
    assert keeps(good, 20.0)
    for change in ({"p99_ms": 21.0}, {"ok": 49}, {"p99_ms": None}):
        assert not keeps(good | change, 20.0)
    runs = [good, good | {"offered": 200.0}, good | {"offered": 300.0, "p99_ms": 40.0}]
    assert highest_rate(runs, 20.0) == 200.0
    assert highest_rate(runs, 1.0) is None
