"""Vectors of students' answers, and of the questions that they are asked (our design).

A question of several concepts is one answer, with the mean of what its concepts have.

Legend: Q questions, C concepts, W concepts of a question, D width, *B any axes.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingData
from training.layers.items import IdEmbedding, known
from training.schema import Field, Schema, size_of
from training.warm_start import Axis

_START = 0.1
"""Standard deviation of vectors before training."""
_PRIOR = 5
"""Answers that the mean of all counts for, beside a question's own."""


class AnswerCounts(NamedTuple):
    """Answers in the training part, wrong ones then right ones."""

    question: np.ndarray
    """int64 [2, Q + 1]"""
    concept: np.ndarray
    """int64 [2, C + 1]"""

    @classmethod
    def of(cls, data: TracingData) -> "AnswerCounts":
        """Counts them; unknown questions and concepts are not met."""
        answers = data.train.measured()
        sides = [answers.question[answers.label == side] for side in (0, 1)]
        size = size_of(data.schema.only("concept", "item"))
        found = cls(
            np.stack([np.bincount(asked, minlength=len(data.concepts)) for asked in sides]),
            np.stack([np.bincount(data.concepts[asked].ravel(), minlength=size) for asked in sides]),
        )
        for counts in found:
            counts[:, 0] = 0
        return found


class QuestionEmbedding(nn.Module):
    """The mean of its concepts' vectors, moved by how difficult the question is along what difficulty changes in each.

    So a question that few have answered has few numbers of its own: one. The form is that of Ghosh, Heffernan and Lan,
    "Context-aware attentive knowledge tracing", KDD 2020, https://arxiv.org/abs/2007.12324, after Rasch; that the
    difficulty starts from the training part's wrong answers, and what a question without concepts has, is our design.
    """

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        question, concept = _fields(schema)
        self.difficulty = IdEmbedding(Axis((question,), of_values=True), 1)
        self.concept, self.change = (IdEmbedding(Axis((concept,), of_values=True), dim) for _ in range(2))
        self.spread = nn.Parameter(torch.zeros(dim))
        for table in (self.concept, self.change):
            nn.init.normal_(table.weight, std=_START)

    def prepare(self, counts: AnswerCounts) -> None:
        """Says which ids training met, and how difficult questions are."""
        _start_difficulty(self.difficulty, counts)
        for table in (self.concept, self.change):
            table.prepare(counts.concept.sum(axis=0))

    def forward(self, question: Int[Tensor, "*B"], concepts: Int64[Tensor, "*B W"]) -> Float[Tensor, "*B D"]:
        """Vectors; `concepts` are those of the questions, 0 = none."""
        change = mean_of(self.change(concepts), concepts) + self.spread
        return mean_of(self.concept(concepts), concepts) + self.difficulty(question) * change


class AnswerEmbedding(nn.Module):
    """The same with vectors of (concept, response) in place of those of concepts."""

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        question, concept = _fields(schema)
        self.difficulty = IdEmbedding(Axis((question,), of_values=True), 1)
        # Rows of what was answered wrong, then of what was answered right.
        both = Axis((concept, concept), of_values=True)
        self.concept, self.change = (IdEmbedding(both, dim) for _ in range(2))
        self.response = nn.Embedding(2, dim)
        self.spread = nn.Embedding(2, dim)
        for table in (self.concept, self.change, self.response, self.spread):
            nn.init.normal_(table.weight, std=_START)

    def prepare(self, counts: AnswerCounts) -> None:
        """Says which answers training met, and how difficult questions are."""
        _start_difficulty(self.difficulty, counts)
        for table in (self.concept, self.change):
            table.prepare(counts.concept.ravel())

    def forward(
        self, question: Int[Tensor, "*B"], response: Int[Tensor, "*B"], concepts: Int64[Tensor, "*B W"]
    ) -> Float[Tensor, "*B D"]:
        """Vectors; `concepts` are those of the questions, 0 = none."""
        own, change = (
            mean_of(_of_answer(table, concepts, response[..., None]), concepts) + alone(response)
            for table, alone in ((self.concept, self.response), (self.change, self.spread))
        )
        return own + self.difficulty(question) * change


def difficulties(counts: AnswerCounts) -> Float32[np.ndarray, " Q+1"]:
    """Log-odds of wrong answers to each question, with as many answers of the mean as are worth `_PRIOR`, less those of
    all answers, in standard deviations over the questions; 0 for one that training did not ask."""
    wrong, right = counts.question
    share = (wrong.sum() + 1) / (counts.question.sum() + 2)
    smoothed = (wrong + _PRIOR * share) / (wrong + right + _PRIOR)
    met, odds = wrong + right > 0, np.zeros(len(wrong))
    odds[met] = np.log(smoothed[met] / (1 - smoothed[met]))
    odds[met] -= odds[met].mean() if met.any() else 0
    return (odds / (odds[met].std() or 1.0) if met.any() else odds).astype(np.float32)


def _start_difficulty(table: IdEmbedding, counts: AnswerCounts) -> None:
    table.prepare(counts.question.sum(axis=0))
    with torch.no_grad():
        table.weight.copy_(torch.from_numpy(difficulties(counts))[:, None])


def mean_of(vectors: Float[Tensor, "*B W D"], concepts: Int[Tensor, "*B W"]) -> Float[Tensor, "*B D"]:
    """Over the concepts that there are; zeros where there is none."""
    there = (concepts > 0).unsqueeze(-1)
    return (vectors * there).sum(dim=-2) / there.sum(dim=-2).clamp(min=1)


def _of_answer(table: IdEmbedding, ids: Int[Tensor, "*B"], response: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
    size = table.sizes[0]
    return table.at(known(ids, size) + size * response)


def _fields(schema: Schema) -> tuple[Field, Field]:
    return schema.key("item"), schema.only("concept", "item")
