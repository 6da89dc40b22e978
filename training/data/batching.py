"""Which samples make a batch: shuffled, but like with like, so that little of a batch is padding."""

import numpy as np

_POOL_BATCHES = 16


def batches(costs: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """A partition of the samples into int64 arrays of `batch_size` row numbers (one may be smaller), in random order.

    `costs` int64 [N]. The samples are shuffled, cut into pools of 16 batches, sorted by cost within a pool, cut into
    batches, and the batches of all pools are shuffled. The same (seed, epoch) always gives the same batches.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(costs))
    parts = []
    for start in range(0, len(order), batch_size * _POOL_BATCHES):
        pool = order[start : start + batch_size * _POOL_BATCHES]
        parts += _chunks(pool[np.argsort(costs[pool], kind="stable")], batch_size)
    return [parts[number] for number in random.permutation(len(parts))]


def by_cost(costs: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """A partition of the samples sorted by cost, for evaluation."""
    return _chunks(np.argsort(costs, kind="stable"), batch_size)


def _chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
