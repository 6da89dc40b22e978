"""Batches are a partition, deterministic, and of like cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.batching import batches, by_cost


@given(count=st.integers(0, 300), size=st.integers(1, 40), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_each_sample_is_in_exactly_one_batch(count: int, size: int, seed: int, epoch: int) -> None:
    costs = np.random.default_rng(0).integers(0, 50, count)
    for parts in (batches(costs, size, seed, epoch), by_cost(costs, size)):
        assert sorted(np.concatenate([np.empty(0, np.int64), *parts]).tolist()) == list(range(count))
        assert sum(len(part) < size for part in parts) <= 1
        assert all(len(part) for part in parts)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_seed_and_epoch_decide_the_batches() -> None:
    costs = np.arange(500) % 60
    assert same(batches(costs, 32, 1, 2), batches(costs, 32, 1, 2))
    assert not same(batches(costs, 32, 1, 2), batches(costs, 32, 1, 3))
    assert not same(batches(costs, 32, 1, 2), batches(costs, 32, 2, 2))


def test_grouping_by_cost_leaves_little_padding() -> None:
    costs = np.random.default_rng(0).integers(0, 256, 4000)
    padded = sum(len(part) * costs[part].max() for part in batches(costs, 100, 0, 0))
    assert costs.sum() / padded > 0.85


def test_batches_do_not_come_in_the_order_of_cost() -> None:
    costs = np.arange(1600)
    firsts = [costs[part].mean() for part in batches(costs, 100, 0, 0)]
    assert firsts != sorted(firsts)


def test_an_empty_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches(np.arange(3), 0, 0, 0)
