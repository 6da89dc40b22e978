"""CMKT with mastery read from the hidden state, and constrained by what the opposite answer would have made of it.

Legend: B students, T answers, C concepts, W concepts of a question, H hidden units, *B any axes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answers import AnswerCounts
from training.layers.items import IdEmbedding
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.systems.cmkt.config import Config
from training.systems.cmkt.parts import Pairs, Predictor, Recurrence, earlier, last, of_concepts
from training.tasks.tracing import cross_entropy
from training.warm_start import Axis


class SoftState(NamedTuple):
    """What is kept of a student."""

    hidden: Float[Tensor, "B H"]


class SoftCMKT(nn.Module):
    """M_t = sigmoid(W h_t + b). Implements `training.layers.tracer.Learner`."""

    bounds = ((-1, 1),)

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config, concept = config, schema.only("concept", "item")
        self.concepts = Concepts(size_of(schema.key("item")), width_of(concept))
        self.recurrence, self.predictor = Recurrence(config, schema), Predictor(schema)
        self.readout = IdEmbedding(Axis((concept,), of_values=True), config.hidden + 1)
        nn.init.normal_(self.readout.weight, std=config.hidden**-0.5)

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions, and says which ids training met."""
        self.concepts.prepare(data.concepts)
        counts = AnswerCounts.of(data)
        self.recurrence.prepare(counts)
        self.predictor.prepare(counts)
        self.readout.prepare(counts.concept.sum(axis=0))

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the mastery before the answer."""
        concepts = self.concepts(batch.questions)
        before = self._mastered(self._before(self.recurrence(batch, concepts)))
        return self.predictor(before, batch.questions, concepts)

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers, and the constraint on what each of them practised."""
        concepts = self.concepts(batch.questions)
        hidden = self.recurrence(batch, concepts)
        before = self._before(hidden)
        answers = cross_entropy(self.predictor(self._mastered(before), batch.questions, concepts), batch)
        if not self.config.monotonicity:
            return answers, {}
        constraint = penalty(self._pairs(batch, concepts, hidden), batch, self.config)
        return answers + self.config.monotonicity * constraint, {
            "answers": answers.detach(),
            "constraint": constraint.detach(),
        }

    def pairs(self, batch: TracingBatch) -> Pairs:
        """Mastery of what was practised, after each answer and after its opposite."""
        concepts = self.concepts(batch.questions)
        return self._pairs(batch, concepts, self.recurrence(batch, concepts))

    def start(self, student: Int64[Tensor, " B"]) -> SoftState:
        """Zeros; the student is not looked at."""
        return SoftState(self.recurrence.start(student.shape[0]))

    def step(self, state: SoftState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> SoftState:
        """One step of the recurrence."""
        return SoftState(self.recurrence.step(state.hidden, question, response, self.concepts(question)))

    def ask(self, state: SoftState, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        return self.predictor(self.mastery(state), question, self.concepts(question))

    def mastery(self, state: SoftState) -> Float[Tensor, "B C"]:
        """What is read from the hidden state."""
        return self._mastered(state.hidden)

    def after(self, batch: TracingBatch) -> SoftState:
        """The hidden state after each student's last answer."""
        return SoftState(last(self.recurrence(batch, self.concepts(batch.questions)), batch.length))

    def _before(self, hidden: Float[Tensor, "B T H"]) -> Float[Tensor, "B T H"]:
        return earlier(hidden, self.recurrence.start(hidden.shape[0]))

    def _mastered(self, hidden: Float[Tensor, "*B H"]) -> Float[Tensor, "*B C"]:
        table = self.readout.table()[1:]
        return (hidden @ table[:, :-1].T + table[:, -1]).sigmoid()

    def _pairs(self, batch: TracingBatch, concepts: Int64[Tensor, "B T W"], hidden: Float[Tensor, "B T H"]) -> Pairs:
        """The opposite answer is one more step for each place, all of them at once, from the state before it."""
        before = self._before(hidden)
        flat = (one.flatten(0, 1) for one in (before, batch.questions, 1 - batch.responses, concepts))
        flipped = self.recurrence.step(*flat).reshape(before.shape)
        unpractised, factual, other = (of_concepts(self._mastered(one), concepts) for one in (before, hidden, flipped))
        return Pairs(unpractised, factual, other, concepts > 0)


def penalty(pairs: Pairs, batch: TracingBatch, config: Config) -> Float[Tensor, ""]:
    """Mean, over the answers that count and the concepts of each, of how far mastery after a right answer is from lying
    above that after its opposite, and after a wrong one below."""
    rise = signed(pairs.factual - pairs.counterfactual, batch)
    if config.constraint == "hinge":
        each = (config.margin - rise).relu()
    else:
        each = config.temperature * nn.functional.softplus(-rise / config.temperature)
    counted = pairs.there * batch.counts[..., None]
    return (each * counted).sum() / counted.sum().clamp(min=1)


def signed(change: Float[Tensor, "B T W"], batch: TracingBatch) -> Float[Tensor, "B T W"]:
    """Changes with the sign that a right answer should give them."""
    return torch.where(batch.responses[..., None] > 0, change, -change)
