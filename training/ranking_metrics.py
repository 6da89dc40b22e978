"""How high a list ranks the one item that was chosen (leave one out), in fp64."""

import numpy as np

CUTOFFS = (5, 10)


def ranking_quality(ranks: np.ndarray) -> dict[str, float]:
    """recall@5, recall@10 (the hit rate, as there is one target) and ndcg@5, ndcg@10.

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
