"""Of BBQRec beside how well it ranks: how many pairs of a history share how much."""

import numpy as np

from training.data.sequences import SequenceSplit
from training.system import Predict
from training.systems.bbqrec.codes import SHAPES
from training.systems.bbqrec.model import BBQRec, Pairs
from training.tasks.next_item import NEXT_ITEM


def evaluate(module: BBQRec, predict: Predict, split: SequenceSplit) -> dict[str, float]:
    """The task's; `<source>_<bucket>`, the share of the pairs of places in each bucket; and `alike`, that of the pairs
    which share a code in any source."""
    counts = predict(Pairs(module), split).sum(0, dtype=np.float64)
    sources, buckets = SHAPES[module.ids].sources, module.similarity.num_buckets
    names = [f"{source}_{bucket}" for source in sources for bucket in range(buckets)]
    shares = counts / max(1.0, counts[:buckets].sum())
    measured = NEXT_ITEM.evaluate(module, predict, split)
    return measured | dict(zip([*names, "alike"], shares.tolist(), strict=True))
