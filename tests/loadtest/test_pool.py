"""Requests with their answers."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.pool import Pool, Request

OLD, NEW = {"scores": np.array([[0.1, 0.2]], np.float32)}, {"scores": np.array([[0.3, 0.4]], np.float32)}
REQUEST = Request({"user_id": np.array([[7]]), "candidates": np.array([[1, 2]])}, (OLD, NEW))


def test_one_whole_version_is_right_and_nothing_else() -> None:
    assert REQUEST.is_right(OLD)
    assert REQUEST.is_right({"scores": NEW["scores"] + 1e-6})
    for wrong in (
        {"scores": np.array([[0.1, 0.4]], np.float32)},
        {"scores": np.array([[0.1]], np.float32)},
        {"scores": np.array([[np.nan, 0.2]], np.float32)},
        {"other": OLD["scores"]},
        {},
    ):
        assert not REQUEST.is_right(wrong), "a mixture of versions, a part, nothing"
    assert Request(REQUEST.inputs, ()).is_right(OLD), "where nothing is expected, nothing is compared"


def test_a_pool_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    requests = [REQUEST._replace(inputs={"candidates": np.arange(n)[None]}) for n in range(1, 14)]
    Pool("ranker", requests).save(tmp_path / "pool")
    pool = Pool.load(tmp_path / "pool")
    assert pool.model == "ranker"
    assert [request.size for request in pool.requests] == list(range(1, 14))
    assert all(request.is_right(OLD) and request.is_right(NEW) for request in pool.requests)
    with pytest.raises(ValueError, match="requests to 'ranker' is empty"):
        Pool("ranker", [])
