"""MovieLens-1M, clean setting: the films that 5,949 people rated 4 or 5, in the three parts of DiffRec (SIGIR 2023).

Each user's first ratings train, later ones validate, the last ones test; what order there was inside a part is not
published, and ids are remapped, so that there are no titles. 2,810 films, 403,277, 110,722 and 57,532 ratings; every
user has some in each part (`training.data.ml1m_clean_files`). Order inside a part: that of the file.

The parts lie one after the other in time: whoever feeds the validation part as history at the test finds far more than
by any model. `training.data.retrieval` does not.
"""

from functools import partial

from training.data.fetch import ORIGINS
from training.data.pairs import read
from training.interactions import Dataset

DATASET = Dataset(
    name="ml-1m-clean",
    what=ORIGINS["ml-1m-clean"].what,
    licence=ORIGINS["ml-1m-clean"].licence,
    read=partial(read, "ml-1m-clean"),
)
