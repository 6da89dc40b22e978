"""Scores counted beside the hot path."""

import threading

import numpy as np

from serving.watch import scores as module
from serving.watch.families import SCORE_BIN, SCORE_BUCKET, SCORE_COUNT, SCORE_DRIFT, SCORE_EXPECTED, SCORE_NOT_FINITE
from serving.watch.reference import Binned, Reference
from serving.watch.scores import Scores
from tests.serving.watch.counted import MetricFamily, counting

REFERENCE = Reference(
    source="log",
    requests=4,
    output="scores",
    scores=Binned(edges=(0.0, 1.0), counts=(2, 5, 3)),
    sizes=Binned(edges=(), counts=(4,)),
    unknown={},
)
AT = ("shop", "3")


def test_scores_of_many_threads_are_counted_once_each() -> None:
    answers = [np.array([[-1.0, 0.5, 0.5, 2.0]], np.float32), np.array([[np.nan, 0.0, 1.0]], np.float32)]
    with counting() as prometheus:
        scores = Scores(prometheus, *AT, REFERENCE)

        def ask() -> None:
            for number in range(100):
                scores.add(answers[number % 2])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        scores.close()
    told = MetricFamily.told
    # An edge belongs to the bin below it: 0.0 to the first, 1.0 to the second.
    assert [told[SCORE_BIN.name, *AT, one] for one in ("00", "01", "02")] == [400, 600, 200]
    assert [told[SCORE_BUCKET.name, *AT, one] for one in ("0", "1", "+Inf")] == [400, 1_000, 1_200]
    assert told[SCORE_COUNT.name, *AT] == 1_200
    assert told[SCORE_NOT_FINITE.name, *AT] == 200


def test_the_reference_is_told_and_drift_is_no_number_before_there_are_enough_requests() -> None:
    with counting() as prometheus:
        scores = Scores(prometheus, *AT, REFERENCE)
        scores.add(np.zeros((1, 5), np.float32))
        scores.close()
    told = MetricFamily.told
    expected = [told[SCORE_EXPECTED.name, *AT, one, "log"] for one in ("00", "01", "02")]
    assert expected == [2.5 / 11.5, 5.5 / 11.5, 3.5 / 11.5]
    assert np.isnan(told[SCORE_DRIFT.name, *AT, "log"])


def test_drift_forgets(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 10**6)
    like, unlike = np.repeat([-1.0, 0.5, 2.0], [2, 5, 3])[None], np.full((1, 10), 2.0)

    def after(*asked: tuple[np.ndarray, int]) -> float:
        with counting() as prometheus:
            scores = Scores(prometheus, *AT, REFERENCE)
            for answer, number in asked:
                for _ in range(number):
                    scores._waiting.append(answer)
                scores._count()
            scores.close()
        return MetricFamily.told[SCORE_DRIFT.name, *AT, "log"]

    # Of ten scores the prior's halves make up a part.
    assert after((like, 1_000)) < 0.01
    moved = after((unlike, 20_000))
    assert moved > 1
    assert after((unlike, 20_000), *[(like, 20_000)] * 6) < 0.1 * moved


def test_scores_that_the_thread_cannot_keep_up_with_take_no_memory(monkeypatch) -> None:
    monkeypatch.setattr(module, "_COUNT_S", 3_600)
    with counting() as prometheus:
        scores = Scores(prometheus, *AT, REFERENCE)
        for _ in range(module._MOST_WAITING + 10):
            scores.add(np.zeros(1, np.float32))
        assert len(scores._waiting) == module._MOST_WAITING
        scores.close()
