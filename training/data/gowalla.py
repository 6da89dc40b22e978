"""Gowalla: places where 29,858 users were, 40,981 places, in the two parts of LightGCN (SIGIR 2020).

810,128 pairs train, 217,242 test; the split is by lot, and there are no times (`training.data.gowalla_files`). Order
of a user's training pairs: by item, as in the published graph, so it means nothing.
"""

from functools import partial

from training.data.fetch import ORIGINS
from training.data.pairs import read
from training.interactions import Dataset

DATASET = Dataset(
    name="gowalla",
    what=ORIGINS["gowalla"].what,
    licence=ORIGINS["gowalla"].licence,
    read=partial(read, "gowalla"),
)
