"""SFKT's module: the protocol of tracing models around `training.systems.sfkt.reader`.

Legend: B students, T answers, V answers of the window, R questions, K questions by which students are compared, C
concepts, W concepts of a question, D width.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answer_counts import MOST, ConceptCounts, counted, counts_before, counts_of
from training.layers.answer_window import moved, ring_of
from training.layers.answers import AnswerCounts, QuestionEmbedding
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.systems.sfkt.augmentation import History, Peers, augmented
from training.systems.sfkt.config import Config
from training.systems.sfkt.contrast import COMPARED, Contrast, Prefix, drawn
from training.systems.sfkt.reader import Asked, Reader
from training.systems.sfkt.totals import Past
from training.tasks.tracing import cross_entropy


class SFKTState(NamedTuple):
    """What is kept of a student, whatever the configuration reads of it."""

    wins: Float[Tensor, "B C+1"]
    """Right answers by concept, of all that he gave; 0 for no concept."""
    fails: Float[Tensor, "B C+1"]
    totals: Float[Tensor, "B 2"]
    """Right and wrong ones, whatever was asked."""
    asked: Int64[Tensor, "B V"]
    """His newest answers, the newest one last, 0 before the first."""
    right: Int64[Tensor, "B V"]


class Read(NamedTuple):
    """Questions, and what is made of students for them."""

    asked: Asked
    fused: Float[Tensor, "B R D"]


class SFKT(nn.Module):
    """Implements `training.layers.tracer.Learner`."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        concept, questions = schema.only("concept", "item"), size_of(schema.key("item"))
        self.bounds = ((0, MOST), (0, MOST), (0, MOST), (0, questions - 1), (0, 1))
        self.size, self.window, self.weight = size_of(concept), config.window, config.contrast
        self.concepts = Concepts(questions, width_of(concept))
        self.questions = QuestionEmbedding(schema, config.dim)
        self.reader = Reader(config, schema, self.concepts)
        self.peers = Peers(questions) if config.contrast else None
        self.contrast = Contrast(config.dim) if config.contrast else None

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts and difficulties of the questions, and says which ones training asks."""
        self.concepts.prepare(data.concepts)
        counts = AnswerCounts.of(data)
        self.questions.prepare(counts)
        self.reader.prepare(counts)
        if self.peers is not None:
            self.peers.prepare(data.concepts, counts)

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the counts and the window before the answer; memory is in proportion to T V."""
        asked, weight = self.asked(batch.questions), self.questions.concept.weight
        sides = torch.stack((batch.responses, 1 - batch.responses), dim=-1).to(weight.dtype)
        own = counts_before(asked.concepts, batch.responses, weight, self.size)
        past, window = Past(own, sides.cumsum(dim=1) - sides), self.reader.window
        local = None if window is None else window.sequence(asked, batch.questions, batch.responses)
        return self.reader.logit(asked, self.reader.fused(asked, past, local))

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers; with contrast, the more the shorter a history is, also of an answer after it
        was changed, and that two changes of it are more alike than those of others."""
        answers = cross_entropy(self(batch), batch)
        if self.peers is None or self.contrast is None:
            return answers, {}
        prefix = drawn(batch)
        common = torch.randint(1, self.concepts.of.shape[0], (COMPARED,), device=prefix.question.device)
        views = [self.changed(prefix, self.peers, common) for _ in range(2)]
        unlike = self.contrast(*(view.fused[:, :COMPARED] for view in views))
        logits = torch.stack([self.reader.logit(*view)[:, COMPARED] for view in views])
        target = prefix.response.to(logits.dtype).expand_as(logits)
        wrong = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=0)
        named = {"contrast": (prefix.weight * unlike).mean(), "changed": (prefix.weight * prefix.counts * wrong).mean()}
        loss = answers + self.weight * (named["contrast"] + named["changed"])
        return loss, {name: value.detach() for name, value in named.items()}

    def changed(self, prefix: Prefix, peers: Peers, common: Int64[Tensor, " K"]) -> Read:
        """What is made of changed histories: where all are asked the K questions, then each his own."""
        questions = torch.cat((common.expand(len(prefix.question), -1), prefix.question[:, None]), dim=1)
        return self.read(self.of(augmented(prefix.history, peers)), questions)

    def start(self, student: Int64[Tensor, " B"]) -> SFKTState:
        """No answers; the student is not looked at."""
        weight = self.questions.concept.weight
        wins, fails = (weight.new_zeros(student.shape[0], self.size) for _ in range(2))
        ring = student.new_zeros(student.shape[0], self.window)
        return SFKTState(wins, fails, weight.new_zeros(student.shape[0], 2), ring, ring.clone())

    def step(self, state: SFKTState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> SFKTState:
        """Counts the answer, and the oldest one of the window goes."""
        one = torch.ones_like(state.totals[:, :1])
        new = counted(self.concepts(question[:, None]), response[:, None], one, self.size)
        right = response[:, None].to(one.dtype)
        return SFKTState(
            *ConceptCounts(state.wins, state.fails).more(new),
            (state.totals + torch.cat((right, 1 - right), dim=1)).clamp(max=MOST),
            moved(state.asked, self.concepts.known(question)),
            moved(state.right, response),
        )

    def ask(self, state: SFKTState, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        return self.reader.logit(*self.read(state, question[:, None]))[:, 0]

    def mastery(self, state: SFKTState) -> Float[Tensor, "B C"]:
        """Probabilities of right answers where the concept alone is asked for."""
        shape = state.totals.shape[0], self.size - 1
        vectors = self.questions.concept.table()[1:].expand(*shape, -1)
        concepts = torch.arange(1, self.size, device=vectors.device)[:, None].expand(*shape, 1)
        return self.reader.logit(*self._read(state, Asked(vectors, concepts))).sigmoid()

    def after(self, batch: TracingBatch) -> SFKTState:
        """All answers counted, and the newest ones."""
        return self.of(History(batch.questions, batch.responses, batch.length))

    def of(self, history: History) -> SFKTState:
        """As `after`."""
        weight = history.there.to(self.questions.concept.weight.dtype)
        right = history.responses.to(weight.dtype)
        known = self.concepts.known(history.questions)
        return SFKTState(
            *counted(self.concepts(known), history.responses, weight, self.size),
            torch.stack([(weight * side).sum(dim=1) for side in (right, 1 - right)], dim=1),
            *(ring_of(values, history.length, self.window) for values in (known, history.responses)),
        )

    def asked(self, questions: Int64[Tensor, "B R"]) -> Asked:
        """Vectors and concepts."""
        concepts = self.concepts(questions)
        return Asked(self.questions(questions, concepts), concepts)

    def read(self, state: SFKTState, questions: Int64[Tensor, "B R"]) -> Read:
        """What the network makes of students where they are asked these questions."""
        return self._read(state, self.asked(questions))

    def _read(self, state: SFKTState, asked: Asked) -> Read:
        own = counts_of(ConceptCounts(state.wins, state.fails), asked.concepts)
        past = Past(own, state.totals[:, None].expand(-1, asked.concepts.shape[1], -1))
        answers, window = state.totals.sum(dim=1, keepdim=True), self.reader.window
        local = None if window is None else window.ring(asked, state.asked, state.right, answers)
        return Read(asked, self.reader.fused(asked, past, local))
