"""DKT: a recurrent network over a student's answers.

Piech et al., "Deep Knowledge Tracing", NIPS 2015, https://arxiv.org/abs/1506.05908

Stated: an answer is one input, made of what was asked and whether it was right; the hidden state goes from answer to
answer; a linear layer and a sigmoid give the probability of a right answer for everything that can be asked; the loss
is the cross-entropy of the answer that comes next.

Differs from the paper: a GRU in place of its RNN or LSTM; an answer to a question of several concepts is one input,
the mean of the embeddings of its (concept, response), and is read out by the mean of those of its concepts, both moved
by the question's difficulty (`training.layers.answers`); embeddings are learnt instead of one-hot or random.

Legend: B students, T answers, Q questions, C concepts, W concepts of a question, D width of embeddings, H hidden units.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answers import AnswerCounts, AnswerEmbedding, QuestionEmbedding
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.system import System
from training.tasks.tracing import TRACING, TracingConfig, cross_entropy, variant_of


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes and training."""

    dim: int = 32
    """Width of the embeddings of answers."""
    hidden: int = 64
    """Hidden units."""
    batch_size: int = 32
    """Students of a training step, over all processes."""
    learning_rate: float = 5e-3
    """Rate of AdamW."""


class DKTState(NamedTuple):
    """What is kept of a student."""

    hidden: Float[Tensor, "*B H"]


class DKT(nn.Module):
    """Implements `training.layers.tracer.Tracer`."""

    bounds = ((-1, 1),)

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.concepts = Concepts(size_of(schema.key("item")), width_of(schema.only("concept", "item")))
        self.answers = AnswerEmbedding(schema, config.dim)
        self.gru = nn.GRU(config.dim, config.hidden, batch_first=True)
        self.readout = QuestionEmbedding(schema, config.hidden + 1)

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions, and says which ones training asks."""
        self.concepts.prepare(data.concepts)
        counts = AnswerCounts.of(data)
        self.answers.prepare(counts)
        self.readout.prepare(counts)

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the hidden state before the answer."""
        return self.ask(self.before(batch), batch.questions)

    def before(self, batch: TracingBatch) -> DKTState:
        """The hidden states [B, T, H] before each answer."""
        hidden = self._run(batch.questions, batch.responses)
        return DKTState(torch.cat((torch.zeros_like(hidden[:, :1]), hidden[:, :-1]), dim=1))

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers."""
        return cross_entropy(self(batch), batch), {}

    def start(self, student: Int64[Tensor, " B"]) -> DKTState:
        """Zeros; the student is not looked at."""
        return DKTState(self.readout.concept.weight.new_zeros(student.shape[0], self.gru.hidden_size))

    def step(self, state: DKTState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> DKTState:
        """One step of the network. Its units lie in [-1, 1]; no rounding goes beyond, as that would be refused."""
        hidden = torch.gru_cell(self._embedded(question, response), state.hidden, *self.gru.all_weights[0])
        return DKTState(hidden.clamp(-1, 1))

    def ask(self, state: DKTState, question: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Logits."""
        table = self.readout(question, self.concepts(question))
        return (state.hidden * table[..., :-1]).sum(dim=-1) + table[..., -1]

    def mastery(self, state: DKTState) -> Float[Tensor, "B C"]:
        """Probabilities of right answers by the concepts' readout alone."""
        return self.of_concepts(state).sigmoid()

    def of_concepts(self, state: DKTState) -> Float[Tensor, "B C"]:
        """The logits of `mastery`."""
        table = self.readout.concept.table()[1:]
        return state.hidden @ table[:, :-1].T + table[:, -1]

    def after(self, batch: TracingBatch) -> DKTState:
        """The hidden state after each student's last answer."""
        hidden = self._run(batch.questions, batch.responses)
        place = (batch.length - 1).clamp(min=0)[:, None, None].expand(-1, 1, hidden.shape[2])
        last = hidden.gather(1, place)[:, 0]
        return DKTState(torch.where(batch.length[:, None] > 0, last, 0.0))

    def _run(self, questions: Int[Tensor, "B T"], responses: Int[Tensor, "B T"]) -> Float[Tensor, "B T H"]:
        """Hidden states after each answer."""
        return self.gru(self._embedded(questions, responses))[0]

    def _embedded(self, question: Int[Tensor, "*B"], response: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        return self.answers(question, response, self.concepts(question))


SYSTEM = System(
    name="dkt",
    title="Deep knowledge tracing",
    paper="https://arxiv.org/abs/1506.05908",
    provenance="the paper's recurrent network and loss; GRU, learnt embeddings and questions of several concepts are "
    "our design",
    task=TRACING,
    config=Config,
    baseline=None,
    build=DKT,
    variant=variant_of,
    quick={"dim": 8, "hidden": 12},
)
