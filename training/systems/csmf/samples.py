"""What a stage of CSMF goes through: the training samples that served an objective, some of them, and beside each what
its user refused at that step of the cascade.

Legend: B samples of a batch, L history, F fields, R refused items, N items, O objectives.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.data.retrieval import RetrievalBatch, RetrievalData, RetrievalSplit
from training.schema import Schema

ALL = -1
"""In place of an objective: each sample as often as it served one."""
_SEED = 0
"""Of the samples for recovery: the same ones for every seed of training."""


class CascadeBatch(NamedTuple):
    """Users who met an item, and what they refused."""

    met: RetrievalBatch
    refused: Int64[Tensor, "B R"]
    """Training items of the user that served the objective before and never this one; 0 = none."""


def objectives_of(schema: Schema) -> tuple[str, ...]:
    """Names, the widest first; where there are none all positives are one."""
    return tuple(field.name for field in schema.of("objective", "event")) or ("positives",)


def served(split: RetrievalSplit) -> Float32[np.ndarray, "E O"]:
    """Which objectives the targets of the training samples served; of data without objectives all of them one."""
    return split.objectives[:, 0] if split.names else np.ones((len(split), 1), np.float32)


def check_nested(data: RetrievalData) -> None:
    """Raises ValueError where an event of the training part served an objective and not the one before."""
    marks, names = served(data.train), objectives_of(data.schema)
    for place in range(1, len(names)):
        if count := int(((marks[:, place] > 0) & (marks[:, place - 1] == 0)).sum()):
            raise ValueError(
                f"{data.schema.dataset}: {count} events serve '{names[place]}' and not '{names[place - 1]}'; order "
                "objectives from the widest to the narrowest, each within the one before"
            )


class Cascade:
    """Samples that served an objective, or all of them. Implements `training.system.Split`."""

    def __init__(self, data: RetrievalData, objective: int, share: float = 1.0, refused: int = 0) -> None:
        """A share of them, chosen once; `refused` items beside each."""
        self._split, marks = data.train, served(data.train)
        times = marks.sum(axis=1) if objective == ALL else marks[:, objective]
        own = np.repeat(np.arange(len(marks)), times.astype(np.int64))
        chosen = np.random.default_rng(_SEED).permutation(len(own))[: max(1, round(share * len(own)))]
        self._rows = own[np.sort(chosen)]
        self._count = refused if objective > 0 else 0
        self._refused = _refused(data.train, marks, objective) if self._count else np.zeros((0, 2), np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def cost(self) -> np.ndarray:
        """int64 [len]: the length of each history."""
        return self._split.cost()[self._rows]

    def batch(self, rows: np.ndarray) -> CascadeBatch:
        """The samples with these numbers; what was refused is drawn with torch's random numbers."""
        places = self._rows[rows]
        users = self._split.user[places]
        first, after = (np.searchsorted(self._refused[:, 0], users, side) for side in ("left", "right"))
        drawn = torch.rand(len(rows), self._count, dtype=torch.float64).numpy()
        found = np.zeros((len(rows), self._count), np.int64)
        some = after > first
        picked = first[some, None] + (drawn[some] * (after - first)[some, None]).astype(np.int64)
        found[some] = self._refused[picked, 1]
        return CascadeBatch(self._split.batch(places), torch.from_numpy(found))


@lru_cache(maxsize=8)
def cascade(data: RetrievalData, objective: int, share: float, refused: int) -> Cascade:
    """The same samples, made once: a stage asks for them in each epoch."""
    return Cascade(data, objective, share, refused)


def _refused(split: RetrievalSplit, marks: np.ndarray, objective: int) -> np.ndarray:
    """int64 [n, 2]: users and items that served the objective before and never this one, sorted."""
    items = split.targets[:, 0]
    size = int(items.max(initial=0)) + 1
    pairs, took, reached = split.user * size + items, marks[:, objective] > 0, marks[:, objective - 1] > 0
    left = np.setdiff1d(pairs[reached & ~took], pairs[took])
    return np.stack([left // size, left % size], axis=1)
