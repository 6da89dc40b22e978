"""How high a list ranks the items that were chosen, in fp64."""

from collections.abc import Sequence

import numpy as np

from training.metrics import UndefinedError

CUTOFFS = (5, 10)


def ranking_quality(ranks: np.ndarray) -> dict[str, float]:
    """Of one item each (leave one out): recall@5, recall@10 (the hit rate) and ndcg@5, ndcg@10.

    `ranks` [len]: place of the target in its list, 1 = first, inf = not in it. Raises ValueError for a rank that is not
    a number or below 1.
    """
    wide = np.asarray(ranks, np.float64)
    if not len(wide) or not (wide >= 1).all():
        raise ValueError(
            f"ranks must be 1 or more, of at least one sample; found {len(wide)}, the least {wide.min(initial=np.inf)}"
        )
    gains = 1 / np.log2(wide + 1)
    measured = {f"recall{k}": float((wide <= k).mean()) for k in CUTOFFS}
    return measured | {f"ndcg{k}": float(np.where(wide <= k, gains, 0.0).mean()) for k in CUTOFFS}


def retrieval_quality(ranks: np.ndarray, cutoffs: Sequence[int]) -> dict[str, float]:
    """recall@k, the mean over samples of the share of a sample's targets among its first k, and ndcg@k.

    `ranks` [len, T]: places of the targets in one list, 1 = first, inf = not in it, NaN where there is no further
    target. Samples without targets count for nothing. Raises UndefinedError where there is no other, and ValueError for
    a rank below 1.
    """
    wide = np.asarray(ranks, np.float64)
    there = ~np.isnan(wide)
    counts = there.sum(axis=1)
    if not counts.any():
        raise UndefinedError("there is no target to measure")
    if (wide[there] < 1).any():
        raise ValueError(f"ranks must be 1 or more; the least is {wide[there].min()}")
    wide, there, counts = wide[counts > 0], there[counts > 0], counts[counts > 0]
    gains = np.where(there, 1 / np.log2(np.where(there, wide, 1) + 1), 0.0)
    measured: dict[str, float] = {}
    for k in cutoffs:
        found = there & (wide <= k)
        ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))[np.minimum(counts, k) - 1]
        measured[f"recall{k}"] = float((found.sum(axis=1) / counts).mean())
        measured[f"ndcg{k}"] = float((np.where(found, gains, 0.0).sum(axis=1) / ideal).mean())
    return measured
