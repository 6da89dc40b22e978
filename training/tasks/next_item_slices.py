"""Measures of next items that training hardly saw."""

import numpy as np

from training.data.sequences import SequenceSplit
from training.ranking_metrics import ranking_quality
from training.system import Column

RARE = 5
"""An item that trains fewer times is rare."""
SLICES = (
    Column(title="recall@10, rare items", metric="recall10_rare"),
    Column(title="recall@10, new items", metric="recall10_new"),
)
"""What a data set may have none of: held-out items that train fewer than `RARE` times, and such as never train."""


def sliced(split: SequenceSplit, places: np.ndarray) -> dict[str, float]:
    """recall@10 of the slices that have any sample, of places [len(split)] of the targets in their lists."""
    rows = {"recall10_rare": split.times_trained < RARE, "recall10_new": split.times_trained == 0}
    return {name: ranking_quality(places[one])["recall10"] for name, one in rows.items() if one.any()}
