"""What both forms of CMKT have: the recurrence over answers, and the prediction from mastery and difficulty.

Legend: B students, T answers, Q questions, C concepts, W concepts of a question, D width of embeddings, H hidden units,
*B any axes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch
from training.layers.answers import AnswerCounts, AnswerEmbedding
from training.layers.items import IdEmbedding
from training.schema import Schema
from training.systems.cmkt.config import Config
from training.warm_start import Axis

_SLOPE = 1.0
"""Of the prediction before training, as `Predictor.steepness` has it."""


class Pairs(NamedTuple):
    """Mastery of what each answer practised."""

    before: Float[Tensor, "B T W"]
    """The answer."""
    factual: Float[Tensor, "B T W"]
    """After it."""
    counterfactual: Float[Tensor, "B T W"]
    """After its opposite, from the same earlier state."""
    there: Bool[Tensor, "B T W"]
    """Whether the question has such a concept."""


class Recurrence(nn.Module):
    """A GRU over answers."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.answers = AnswerEmbedding(schema, config.dim)
        self.gru = nn.GRU(config.dim, config.hidden, batch_first=True)

    def prepare(self, counts: AnswerCounts) -> None:
        """Says which answers training met."""
        self.answers.prepare(counts)

    def start(self, batch_size: int) -> Float[Tensor, "B H"]:
        """Zeros."""
        return self.answers.concept.weight.new_zeros(batch_size, self.gru.hidden_size)

    def forward(self, batch: TracingBatch, concepts: Int64[Tensor, "B T W"]) -> Float[Tensor, "B T H"]:
        """Hidden states after each answer."""
        return self.gru(self.answers(batch.questions, batch.responses, concepts))[0]

    def step(
        self,
        hidden: Float[Tensor, "B H"],
        question: Int[Tensor, " B"],
        response: Int[Tensor, " B"],
        concepts: Int64[Tensor, "B W"],
    ) -> Float[Tensor, "B H"]:
        """The next hidden state, in [-1, 1]; no rounding goes beyond, as that would be refused."""
        stepped = torch.gru_cell(self.answers(question, response, concepts), hidden, *self.gru.all_weights[0])
        return stepped.clamp(-1, 1)


class Predictor(nn.Module):
    """logit = a (mean mastery of the question's concepts - difficulty of the question), a > 0.

    So it rises with the mastery of each concept that the question asks for, falls with its difficulty, and knows
    nothing of other concepts. A question of which no concept is known is asked for the mean of all.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.question = IdEmbedding(Axis((schema.key("item"),), of_values=True), 1)
        self.concept = IdEmbedding(Axis((schema.only("concept", "item"),), of_values=True), 1)
        self.steepness = nn.Parameter(torch.tensor(_SLOPE))
        for table in (self.question, self.concept):
            nn.init.zeros_(table.weight)

    def prepare(self, counts: AnswerCounts) -> None:
        """Says which questions and concepts training met."""
        self.question.prepare(counts.question.sum(axis=0))
        self.concept.prepare(counts.concept.sum(axis=0))

    def difficulty(self, question: Int[Tensor, "*B"], concepts: Int64[Tensor, "*B W"]) -> Float[Tensor, "*B"]:
        """In (0, 1): its own and that of its concepts, from which a rare question differs little."""
        of_concepts, _ = _mean(self.concept(concepts)[..., 0], concepts)
        return (self.question(question)[..., 0] + of_concepts).sigmoid()

    def forward(
        self, mastery: Float[Tensor, "*B C"], question: Int[Tensor, "*B"], concepts: Int64[Tensor, "*B W"]
    ) -> Float[Tensor, "*B"]:
        """Logits of a right answer."""
        own, count = _mean(of_concepts(mastery, concepts), concepts)
        known = torch.where(count > 0, own, _sum(mastery) / mastery.shape[-1])
        return 3 * nn.functional.softplus(self.steepness) * (known - self.difficulty(question, concepts))


def of_concepts(mastery: Float[Tensor, "*B C"], concepts: Int64[Tensor, "*B W"]) -> Float[Tensor, "*B W"]:
    """Mastery of each concept; where there is none, that of any."""
    return mastery.gather(-1, (concepts - 1).clamp(min=0))


def _mean(values: Float[Tensor, "*B W"], concepts: Int64[Tensor, "*B W"]) -> tuple[Tensor, Tensor]:
    """[*B] over the concepts that there are, 0 where there is none; and how many they are."""
    there = (concepts > 0).to(values.dtype)
    count = _sum(there)
    return _sum(values * there) / count.clamp(min=1), count


def _sum(values: Float[Tensor, "*B W"]) -> Float[Tensor, "*B"]:
    """As a product with a column: ONNX Runtime 1.31 leaves the axis that it is to sum over where another is empty."""
    return (values @ values.new_ones(values.shape[-1], 1))[..., 0]


def earlier(states: Float[Tensor, "B T H"], start: Float[Tensor, "B H"]) -> Float[Tensor, "B T H"]:
    """The states before each answer, of those after it."""
    return torch.cat((start[:, None], states[:, :-1]), dim=1)


def last(states: Float[Tensor, "B T H"], length: Int64[Tensor, " B"]) -> Float[Tensor, "B H"]:
    """The states after each student's last answer, zeros where he gave none."""
    place = (length - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return torch.where(length[:, None] > 0, states.gather(1, place)[:, 0], 0.0)
