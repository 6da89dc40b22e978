"""PFA: a logistic regression on how often a student was right and wrong on each concept.

Pavlik, Cen and Koedinger, "Performance Factors Analysis - A New Alternative to Knowledge Tracing", AIED 2009,
https://eric.ed.gov/?id=ED506305

Stated: the logit is the sum over the question's concepts of beta (how easy the concept is), gamma times the student's
right answers on it before, and rho times his wrong ones.

Differs from the paper: log(1 + count) in place of the count, which grows without bound; beside the concepts' an
easiness of the question itself, as the rivals know the question too; learnt by gradient steps with the others' loop.

Legend: B students, T answers, Q questions, C concepts, W concepts of a question.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answer_counts import MOST, ConceptCounts, counted, counts_before
from training.layers.rows import rows
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.system import System
from training.tasks.tracing import TRACING, TracingConfig, cross_entropy, variant_of
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Training."""

    max_length: int = 10_000
    """Answers of a training sample: all of them, as counts are from the first answer on."""
    learning_rate: float = 3e-2
    """Rate of AdamW."""


class PFAState(NamedTuple):
    """What is kept of a student: answers by concept, 0 for no concept."""

    wins: Float[Tensor, "*B C+1"]
    fails: Float[Tensor, "*B C+1"]


class PFA(nn.Module):
    """Implements `training.layers.tracer.Tracer`."""

    bounds = ((0, MOST), (0, MOST))

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.key, self.concept = schema.key("item"), schema.only("concept", "item")
        questions, concept = size_of(self.key), self.concept
        self.concepts = Concepts(questions, width_of(concept))
        self.question = nn.Parameter(torch.zeros(questions))
        self.beta, self.gamma, self.rho = (nn.Parameter(torch.zeros(size_of(concept))) for _ in range(3))

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        by_concept = Axis((self.concept,), of_values=True)
        return {"question": Axis((self.key,)), "beta": by_concept, "gamma": by_concept, "rho": by_concept}

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions."""
        self.concepts.prepare(data.concepts)

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the counts before the answer."""
        concepts = self.concepts(batch.questions)
        before = counts_before(concepts, batch.responses, self.beta, self.beta.shape[0])
        return self._logit(before, batch.questions, concepts)

    def before(self, batch: TracingBatch) -> PFAState:
        """The counts [B, T, C+1] before each answer; `forward` needs those of the questions' concepts alone."""
        question, response = (part.reshape(-1, 1) for part in (batch.questions, batch.responses))
        alone = self._counted(question, response, self.beta.new_ones(question.shape))
        changes = (part.reshape(*batch.questions.shape, -1) for part in alone)
        return PFAState(*(change.cumsum(dim=1) - change for change in changes))

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers."""
        return cross_entropy(self(batch), batch), {}

    def start(self, student: Int64[Tensor, " B"]) -> PFAState:
        """Zeros; the student is not looked at."""
        return PFAState(*(self.beta.new_zeros(student.shape[0], self.beta.shape[0]) for _ in range(2)))

    def step(self, state: PFAState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> PFAState:
        """Counts the answer for each concept of the question."""
        new = self._counted(question[:, None], response[:, None], torch.ones_like(state.wins[:, :1]))
        return PFAState(*ConceptCounts(*state).more(new))

    def ask(self, state: PFAState, question: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Logits."""
        concepts = self.concepts(question)
        own = ConceptCounts(*(part.gather(-1, concepts) for part in state))
        return self._logit(own, question, concepts)

    def mastery(self, state: PFAState) -> Float[Tensor, "B C"]:
        """Probabilities of right answers by one concept alone, the question left out."""
        return self.of_concepts(state).sigmoid()

    def of_concepts(self, state: PFAState) -> Float[Tensor, "B C"]:
        """The logits of `mastery`."""
        terms = self.beta + self.gamma * state.wins.log1p() + self.rho * state.fails.log1p()
        return terms[..., 1:]

    def after(self, batch: TracingBatch) -> PFAState:
        """The counts of all answers."""
        there = torch.arange(batch.questions.shape[1], device=batch.length.device) < batch.length[:, None]
        return PFAState(*self._counted(batch.questions, batch.responses, there.to(self.beta.dtype)))

    def _counted(self, question: Tensor, response: Tensor, weight: Tensor) -> ConceptCounts:
        return counted(self.concepts(question), response, weight, self.beta.shape[0])

    def _logit(
        self, counts: ConceptCounts, question: Int[Tensor, "*B"], concepts: Int64[Tensor, "*B W"]
    ) -> Float[Tensor, "*B"]:
        beta, gamma, rho = (rows(table, concepts) for table in (self.beta, self.gamma, self.rho))
        terms = beta + gamma * counts.wins.log1p() + rho * counts.fails.log1p()
        easiness = rows(self.question, self.concepts.known(question))
        return easiness + torch.where(concepts > 0, terms, 0.0).sum(dim=-1)


SYSTEM = System(
    name="pfa",
    title="Performance factors analysis",
    paper="https://eric.ed.gov/?id=ED506305",
    provenance="the paper's factors; logarithms of counts and an easiness of each question are our design",
    task=TRACING,
    config=Config,
    baseline=None,
    build=PFA,
    variant=variant_of,
)
