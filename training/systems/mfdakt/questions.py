"""What question vectors are trained to tell before there are answers: which concepts questions share, and how difficult
they are by the training part.

Legend: Q questions, B questions of a batch, C concepts, W concepts of a question, D width.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from training.data.tracing import TracingData
from training.layers.answers import AnswerCounts

_PRIOR = 5
"""Answers that the mean of all counts for, beside a question's own."""
UNASKED = -1.0
_SHORTEST = 1 << 14
"""Questions of an epoch at least: few are gone through so often."""


class QuestionBatch(NamedTuple):
    """Questions, by number."""

    question: Int64[Tensor, " B"]


class Questions:
    """All questions but the unknown one, as often as an epoch needs. Implements `training.system.Split`."""

    def __init__(self, data: TracingData) -> None:
        self._questions = len(data.concepts) - 1
        self._times = -(-_SHORTEST // self._questions)

    def __len__(self) -> int:
        return self._questions * self._times

    def cost(self) -> np.ndarray:
        """int64 [len]: the same for all."""
        return np.ones(len(self), np.int64)

    def batch(self, rows: np.ndarray) -> QuestionBatch:
        """These questions."""
        return QuestionBatch(torch.from_numpy(rows % self._questions + 1))


def difficulties(counts: AnswerCounts) -> Float32[np.ndarray, " Q+1"]:
    """Shares of right answers in the training part, with `_PRIOR` answers of the mean beside them; `UNASKED` of a
    question that it did not ask."""
    wrong, right = counts.question
    asked = wrong + right
    mean = right.sum() / asked.sum()
    return np.where(asked > 0, (right + _PRIOR * mean) / (asked + _PRIOR), UNASKED).astype(np.float32)


def relation(
    concepts: Int64[Tensor, "Q W"], some: Int64[Tensor, " B"], num_concepts: int, divisor: Literal["max", "min"]
) -> Float[Tensor, "B Q"]:
    """Concepts that some questions share with all, as a share of those of the one with more, or with fewer; 0 where one
    has none. Built of the lists of concepts, a batch of rows at a time: the whole table never exists."""
    own = concepts[some]
    has = torch.zeros(len(some), num_concepts, device=own.device).scatter(1, own, 1.0)
    has[:, 0] = 0
    shared = has.index_select(1, concepts.flatten()).reshape(len(some), *concepts.shape).sum(dim=2)
    sizes = (concepts > 0).sum(dim=1)
    pair = torch.maximum if divisor == "max" else torch.minimum
    return shared / pair(sizes[some, None], sizes[None]).clamp(min=1)
