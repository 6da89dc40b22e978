"""The total term of SFKT: what all answers of a student say of a question, by how many they were.

Legend: B students, R questions, W concepts of a question, D width.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.layers.answer_counts import ConceptCounts
from training.layers.answers import AnswerCounts, mean_of
from training.layers.items import IdEmbedding
from training.schema import Field
from training.warm_start import Axis


class Past(NamedTuple):
    """All answers before each question."""

    own: ConceptCounts
    """[B, R, W]: of the question's concepts."""
    totals: Float[Tensor, "B R 2"]
    """Right and wrong ones, whatever was asked."""


class TotalTerm(nn.Module):
    """Vectors of the question's concepts by the logarithms of their counts, beside the logarithms themselves."""

    def __init__(self, concept: Field, dim: int) -> None:
        super().__init__()
        self.wins, self.fails = (IdEmbedding(Axis((concept,), of_values=True), dim) for _ in range(2))
        for table in (self.wins, self.fails):
            nn.init.normal_(table.weight, std=dim**-0.5)
        self.mix = nn.Linear(2 * dim + 4, dim)

    def prepare(self, counts: AnswerCounts) -> None:
        """Says which concepts training met."""
        for table in (self.wins, self.fails):
            table.prepare(counts.concept.sum(axis=0))

    def forward(self, past: Past, concepts: Int64[Tensor, "B R W"]) -> Float[Tensor, "B R D"]:
        """Costs as much as a question has concepts, whatever the past."""
        logs = [part.log1p().unsqueeze(-1) for part in past.own]
        vectors = [
            mean_of(log * table(concepts), concepts) for log, table in zip(logs, (self.wins, self.fails), strict=True)
        ]
        numbers = [mean_of(log, concepts) for log in logs]
        return self.mix(torch.cat((*vectors, *numbers, past.totals.log1p()), dim=-1)).relu()
