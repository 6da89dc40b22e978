"""SAKT: attention from the question that is asked to the answers before it.

Pandey and Karypis, "A Self-Attentive model for Knowledge Tracing", EDM 2019, https://arxiv.org/abs/1907.06837

Stated: the query is the vector of the question that is asked, keys and values are those of the newest answers with
learnt positions; one block of attention and feed-forward with residuals and layer norms; a sigmoid of a linear layer.

Differs from the paper: a position is a bias of each head by how many answers ago it was, in place of a vector by its
place, so that a window that moves on by one answer leaves all else as it was; a learnt vector stands for the time
before the window (`training.layers.answer_window`); an answer to a question of several concepts is one.

A student's state is the ring of his newest answers, so that each answer costs the same.

Legend: B students, T answers, W answers of the window, S answers that are looked at, R places of a chunk, Q questions,
C concepts, D width, H heads.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answer_window import AnswerWindow, moved, ring_of
from training.layers.answers import AnswerCounts, AnswerEmbedding, QuestionEmbedding
from training.layers.tracer import Concepts
from training.layers.transformer import FeedForward
from training.schema import Schema, size_of, width_of
from training.system import System
from training.tasks.tracing import TRACING, TracingConfig, cross_entropy, variant_of

_CHUNK = 128
"""Places whose windows are looked at in one go."""


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes and training."""

    dim: int = 64
    """Width of the vectors of answers and questions."""
    heads: int = 4
    """Attention heads."""
    window: int = 100
    """Newest answers that are looked at."""
    dropout: float = 0.2
    """Share of elements dropped after attention and feed-forward."""
    learning_rate: float = 1e-3
    """Rate of AdamW."""


class SAKTState(NamedTuple):
    """What is kept of a student: his newest answers, the newest one last, 0 before the first."""

    asked: Int64[Tensor, "B W"]
    right: Int64[Tensor, "B W"]
    answers: Int64[Tensor, "B 1"]
    """How many of them there are."""


class SAKT(nn.Module):
    """Implements `training.layers.tracer.Learner`."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.window, questions = config.window, size_of(schema.key("item"))
        self.bounds = ((0, questions - 1), (0, 1), (0, config.window))
        self.concepts = Concepts(questions, width_of(schema.only("concept", "item")))
        self.answers, self.questions = AnswerEmbedding(schema, config.dim), QuestionEmbedding(schema, config.dim)
        self.newest, self.feed_forward = AnswerWindow(config.dim, config.heads, config.window), FeedForward(config.dim)
        self.attended_norm, self.fed_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.dropout, self.out = nn.Dropout(config.dropout), nn.Linear(config.dim, 1)

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions, and says which ones training asks."""
        self.concepts.prepare(data.concepts)
        counts = AnswerCounts.of(data)
        self.answers.prepare(counts)
        self.questions.prepare(counts)

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the window before the answer."""
        asked = self.questions(batch.questions, self.concepts(batch.questions))
        answered = self._answered(batch.questions, batch.responses)
        found = []
        for places, seen, ago in self.newest.chunks(asked.shape[1], _CHUNK, asked.device):
            found.append(self._logit(asked[:, places], self.newest(asked[:, places], answered[:, seen], ago)))
        return torch.cat(found, dim=1)

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers."""
        return cross_entropy(self(batch), batch), {}

    def start(self, student: Int64[Tensor, " B"]) -> SAKTState:
        """No answers; the student is not looked at."""
        none = student.new_zeros(student.shape[0], self.window)
        return SAKTState(none, none.clone(), none[:, :1].clone())

    def step(self, state: SAKTState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> SAKTState:
        """The oldest answer goes, the new one is last."""
        return SAKTState(
            moved(state.asked, self.concepts.known(question)),
            moved(state.right, response),
            (state.answers + 1).clamp(max=self.window),
        )

    def ask(self, state: SAKTState, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        asked = self.questions(question, self.concepts(question))
        return self._of_state(state, asked[:, None])[:, 0]

    def mastery(self, state: SAKTState) -> Float[Tensor, "B C"]:
        """Probabilities of right answers where the concept alone is asked for."""
        table = self.questions.concept.table()[1:]
        return self._of_state(state, table.expand(state.answers.shape[0], -1, -1)).sigmoid()

    def after(self, batch: TracingBatch) -> SAKTState:
        """The newest answers."""
        asked, right = (
            ring_of(values, batch.length, self.window)
            for values in (self.concepts.known(batch.questions), batch.responses)
        )
        return SAKTState(asked, right, batch.length[:, None].clamp(max=self.window))

    def _answered(self, question: Int[Tensor, "B S"], response: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        return self.answers(question, response, self.concepts(question))

    def _of_state(self, state: SAKTState, asked: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q"]:
        return self._logit(asked, self.newest.of_ring(asked, self._answered(state.asked, state.right), state.answers))

    def _logit(self, asked: Float[Tensor, "B R D"], taken: Float[Tensor, "B R D"]) -> Float[Tensor, "B R"]:
        attended = self.attended_norm(asked + self.dropout(taken))
        return self.out(self.fed_norm(attended + self.dropout(self.feed_forward(attended))))[..., 0]


SYSTEM = System(
    name="sakt",
    title="A self-attentive model for knowledge tracing",
    paper="https://arxiv.org/abs/1907.06837",
    provenance="the paper's block; positions as biases, what stands for the time before the window, questions of "
    "several concepts and sizes are our design",
    task=TRACING,
    config=Config,
    baseline=None,
    build=SAKT,
    variant=variant_of,
    quick={"dim": 16, "heads": 2, "window": 8},
)
