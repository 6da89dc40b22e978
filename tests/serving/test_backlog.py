"""The bound of the queue that our backends keep."""

from typing import Any

import pytest

from serving.backends.backlog import Backlog


def judged(batches: list[tuple[float, int]], busy_s: float = 0.0) -> list[bool]:
    """What a model with 64 rows and a patience of half a second does with batches (start, requests).

    Each batch but the last lasts until the next starts, less `busy_s`.
    """
    now = 0.0
    backlog = Backlog(64, 0.5, lambda: now)
    found = []
    for (start, requests), (following, _) in zip(batches, [*batches[1:], batches[-1]], strict=True):
        now = start
        found.append(backlog.refuses(requests))
        now = following - busy_s
        backlog.ended()
    return found


def test_small_batches_are_never_refused() -> None:
    assert judged([(float(now), 32) for now in range(100)]) == [False] * 100


def test_full_batches_are_refused_once_they_have_lasted_and_until_one_is_not_full() -> None:
    batches = [(0.0, 64), (0.3, 33), (0.5, 64), (0.6, 64), (0.7, 40), (0.8, 5), (0.9, 64), (1.3, 64), (1.5, 64)]
    assert judged(batches) == [False, False, False, True, True, False, False, False, True]


def test_a_model_that_had_nothing_to_do_meanwhile_is_not_behind() -> None:
    assert judged([(0.0, 40), (60.0, 40), (60.4, 40), (120.0, 40)], busy_s=0.1) == [False] * 4


def test_the_parameter_is_read_and_refused_where_it_is_no_time() -> None:
    def config(size: int = 64, **parameters: str) -> dict[str, Any]:
        values = {name: {"string_value": value} for name, value in parameters.items()}
        return {"name": "scorer", "max_batch_size": size, "parameters": values}

    assert Backlog.of(config()) is None
    found = Backlog.of(config(max_backlog_ms="250"))
    assert found is not None
    assert found.reason == "the queue is full: the model has been behind for more than 250 ms"
    for wrong in ("0", "-1", "soon", ""):
        with pytest.raises(ValueError, match="scorer: parameter 'max_backlog_ms'"):
            Backlog.of(config(max_backlog_ms=wrong))
    with pytest.raises(ValueError, match="needs max_batch_size 4 or more, not 1"):
        Backlog.of(config(size=1, max_backlog_ms="250"))
