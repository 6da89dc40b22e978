"""CMKT with a mastery that cannot move against an answer (our design).

    m_t[c] = m_{t-1}[c] + r u_t (1 - m_{t-1}[c]) - (1 - r) v_t m_{t-1}[c]    for each concept c of the question

u_t and v_t in (0, 1) follow from the hidden state before the answer and from the question, and not from the answer; the
mastery of other concepts stays as it is. So mastery after a right answer lies above that before it, which lies above
that after a wrong one, whatever the weights.

Legend: B students, T answers, C concepts, W concepts of a question, D width of embeddings, H hidden units, *B any axes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answers import AnswerCounts, QuestionEmbedding
from training.layers.items import IdEmbedding
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.systems.cmkt import linear
from training.systems.cmkt.config import Config
from training.systems.cmkt.parts import Pairs, Predictor, Recurrence, earlier, last, of_concepts
from training.tasks.tracing import cross_entropy
from training.warm_start import Axis

_FIRST = -2.0
"""Logit of how far an answer moves mastery before training."""


class HardState(NamedTuple):
    """What is kept of a student."""

    hidden: Float[Tensor, "B H"]
    mastered: Float[Tensor, "B C"]


class _Rates(NamedTuple):
    """Logits of how far a right answer and a wrong one move mastery."""

    up: Float[Tensor, "*B"]
    down: Float[Tensor, "*B"]


class HardCMKT(nn.Module):
    """Implements `training.layers.tracer.Learner`."""

    bounds = ((-1, 1), (0, 1))

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        concept = schema.only("concept", "item")
        self.concepts = Concepts(size_of(schema.key("item")), width_of(concept))
        self.recurrence, self.predictor = Recurrence(config, schema), Predictor(schema)
        self.questions = QuestionEmbedding(schema, config.dim)
        self.rates = nn.Linear(config.hidden + config.dim, 2)
        nn.init.constant_(self.rates.bias, _FIRST)
        self.first = IdEmbedding(Axis((concept,), of_values=True), 1)
        nn.init.zeros_(self.first.weight)

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions, and says which ids training met."""
        self.concepts.prepare(data.concepts)
        counts = AnswerCounts.of(data)
        self.recurrence.prepare(counts)
        self.predictor.prepare(counts)
        self.questions.prepare(counts)
        self.first.prepare(counts.concept.sum(axis=0))

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the mastery before the answer."""
        concepts = self.concepts(batch.questions)
        mastered, _ = self._run(batch, concepts)
        return self.predictor(mastered, batch.questions, concepts)

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers; there is nothing to constrain."""
        return cross_entropy(self(batch), batch), {}

    def pairs(self, batch: TracingBatch) -> Pairs:
        """Mastery of what was practised, after each answer and after its opposite."""
        concepts = self.concepts(batch.questions)
        mastered, rates = self._run(batch, concepts)
        before = of_concepts(mastered, concepts)
        up, down = (rate.sigmoid()[..., None] for rate in rates)
        factual, other = (_moved(before, one[..., None], up, down) for one in (batch.responses, 1 - batch.responses))
        return Pairs(before, factual, other, concepts > 0)

    def start(self, student: Int64[Tensor, " B"]) -> HardState:
        """No answers, and what is mastered of each concept before any; the student is not looked at."""
        first = self.first.table()[1:, 0].sigmoid()
        return HardState(self.recurrence.start(student.shape[0]), first.expand(student.shape[0], -1).clone())

    def step(self, state: HardState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> HardState:
        """The mastery of the question's concepts moves, then the recurrence."""
        concepts = self.concepts(question)
        up, down = (rate.sigmoid()[:, None] for rate in self._rates(state.hidden, question, concepts))
        moved = _moved(state.mastered, response[:, None], up, down).clamp(0, 1)
        return HardState(
            self.recurrence.step(state.hidden, question, response, concepts),
            torch.where(self._practised(concepts), moved, state.mastered),
        )

    def ask(self, state: HardState, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        return self.predictor(state.mastered, question, self.concepts(question))

    def mastery(self, state: HardState) -> Float[Tensor, "B C"]:
        """It is kept."""
        return state.mastered

    def after(self, batch: TracingBatch) -> HardState:
        """Hidden state and mastery after each student's last answer."""
        concepts = self.concepts(batch.questions)
        hidden = self.recurrence(batch, concepts)
        rates = self._rates(self._before(hidden), batch.questions, concepts)
        there = torch.arange(batch.questions.shape[1], device=batch.length.device) < batch.length[:, None]
        moves = self._moves(batch, torch.where(there[..., None], concepts, 0), rates)
        mastered = linear.last(self.start(batch.student).mastered, *moves)
        return HardState(last(hidden, batch.length), mastered.clamp(0, 1))

    def _run(self, batch: TracingBatch, concepts: Int64[Tensor, "B T W"]) -> tuple[Float[Tensor, "B T C"], _Rates]:
        """Mastery before each answer, and how far it may move it."""
        rates = self._rates(self._before(self.recurrence(batch, concepts)), batch.questions, concepts)
        moves = self._moves(batch, concepts, rates)
        return linear.before(self.start(batch.student).mastered, *moves).clamp(0, 1), rates

    def _before(self, hidden: Float[Tensor, "B T H"]) -> Float[Tensor, "B T H"]:
        return earlier(hidden, self.recurrence.start(hidden.shape[0]))

    def _rates(
        self, hidden: Float[Tensor, "*B H"], question: Int[Tensor, "*B"], concepts: Int64[Tensor, "*B W"]
    ) -> _Rates:
        found = self.rates(torch.cat((hidden, self.questions(question, concepts)), dim=-1))
        return _Rates(found[..., 0], found[..., 1])

    def _moves(
        self, batch: TracingBatch, concepts: Int64[Tensor, "B T W"], rates: _Rates
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T C"]]:
        """log keep and gain of each answer and concept: 0 and 0 where it does not practise the concept."""
        right, practised = batch.responses > 0, self._practised(concepts)
        log_keep = nn.functional.logsigmoid(-torch.where(right, rates.up, rates.down))
        gain = torch.where(right, rates.up.sigmoid(), 0.0)
        return practised * log_keep[..., None], practised * gain[..., None]

    def _practised(self, concepts: Int64[Tensor, "*B W"]) -> Tensor:
        """bool [*B, C]: whether a question with these concepts asks for each."""
        each = torch.arange(1, self.first.num_embeddings, device=concepts.device)
        return (concepts.unsqueeze(-1) == each).any(dim=-2)


def _moved(mastery: Tensor, right: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """In this form no rounding moves it against the answer."""
    return torch.where(right > 0, mastery + up * (1 - mastery), mastery - down * mastery)
