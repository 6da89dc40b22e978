"""DKT: a recurrent network over a student's answers.

Piech et al., "Deep Knowledge Tracing", NIPS 2015, https://arxiv.org/abs/1506.05908

Stated: an answer is one input, made of what was asked and whether it was right; the hidden state goes from answer to
answer; a linear layer and a sigmoid give the probability of a right answer for everything that can be asked; the loss
is the cross-entropy of the answer that comes next.

Differs from the paper: a GRU in place of its RNN or LSTM; an answer to a question of several concepts is one input,
the embedding of (question, response) plus the mean of those of its (concept, response), and is read out as the
question's own logit plus the mean of its concepts'; embeddings are learnt instead of one-hot or random.

Legend: B students, T answers, Q questions, C concepts, W concepts of a question, D width of embeddings, H hidden units.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.items import IdEmbedding, known
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.system import System
from training.tasks.tracing import TRACING, TracingConfig, cross_entropy
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes and training."""

    dim: int = 32
    """Width of the embeddings of answers."""
    hidden: int = 64
    """Hidden units."""


class DKTState(NamedTuple):
    """What is kept of a student."""

    hidden: Float[Tensor, "B H"]


class DKT(nn.Module):
    """Implements `training.layers.tracer.Tracer`."""

    bounds = ((-1, 1),)

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        question, concept = schema.key("item"), schema.only("concept", "item")
        self.concepts = Concepts(size_of(question), width_of(concept))
        # Rows of what was answered wrong, then of what was answered right.
        self.of_question, self.of_concept = (
            IdEmbedding(Axis((one, one), of_values=True), config.dim) for one in (question, concept)
        )
        self.gru = nn.GRU(config.dim, config.hidden, batch_first=True)
        self.out_question, self.out_concept = (
            IdEmbedding(Axis((one,), of_values=True), config.hidden + 1) for one in (question, concept)
        )
        for table in (self.of_question, self.of_concept, self.out_question, self.out_concept):
            nn.init.normal_(table.weight, std=0.1)

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions, and says which ones training asks."""
        self.concepts.prepare(data.concepts)
        answered = data.interactions.events[data.train.measured().row]
        question, right = answered["item"].to_numpy(), answered["label"].to_numpy() > 0
        concepts = data.concepts[question]
        for ids, tables in (
            (question[:, None], (self.of_question, self.out_question)),
            (concepts, (self.of_concept, self.out_concept)),
        ):
            size = tables[1].num_embeddings
            by_answer = [np.bincount(met[met > 0], minlength=size) for met in (ids[~right], ids[right])]
            tables[0].prepare(np.concatenate(by_answer))
            tables[1].prepare(by_answer[0] + by_answer[1])

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the hidden state before the answer."""
        hidden = self._run(batch.questions, batch.responses)
        before = torch.cat((torch.zeros_like(hidden[:, :1]), hidden[:, :-1]), dim=1)
        return self._read(before, batch.questions)

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers."""
        return cross_entropy(self(batch), batch), {}

    def start(self, student: Int64[Tensor, " B"]) -> DKTState:
        """Zeros; the student is not looked at."""
        return DKTState(self.out_concept.weight.new_zeros(student.shape[0], self.gru.hidden_size))

    def step(self, state: DKTState, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> DKTState:
        """One step of the network. Its units lie in [-1, 1]; no rounding goes beyond, as that would be refused."""
        hidden = torch.gru_cell(self._embedded(question, response), state.hidden, *self.gru.all_weights[0])
        return DKTState(hidden.clamp(-1, 1))

    def ask(self, state: DKTState, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        return self._read(state.hidden, question)

    def mastery(self, state: DKTState) -> Float[Tensor, "B C"]:
        """Probabilities of right answers by the concepts' readout alone."""
        table = self.out_concept.table()[1:]
        return (state.hidden @ table[:, :-1].T + table[:, -1]).sigmoid()

    def after(self, batch: TracingBatch) -> DKTState:
        """The hidden state after each student's last answer."""
        hidden = self._run(batch.questions, batch.responses)
        place = (batch.length - 1).clamp(min=0)[:, None, None].expand(-1, 1, hidden.shape[2])
        last = hidden.gather(1, place)[:, 0]
        return DKTState(torch.where(batch.length[:, None] > 0, last, 0.0))

    def _run(self, questions: Int[Tensor, "B T"], responses: Int[Tensor, "B T"]) -> Float[Tensor, "B T H"]:
        """Hidden states after each answer."""
        return self.gru(self._embedded(questions, responses))[0]

    def _embedded(self, question: Int[Tensor, "B T"], response: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        concepts = self.concepts(question)
        own = _of_answer(self.of_question, question, response)
        return own + _mean(_of_answer(self.of_concept, concepts, response[..., None]), concepts)

    def _read(self, hidden: Float[Tensor, "*B H"], question: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        concepts = self.concepts(question)
        table = self.out_question(question) + _mean(self.out_concept(concepts), concepts)
        return (hidden * table[..., :-1]).sum(dim=-1) + table[..., -1]


def _of_answer(table: IdEmbedding, ids: Int[Tensor, "*B"], response: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
    """Vectors of (question, response), or of (concept, response)."""
    size = table.sizes[0]
    return table.at(known(ids, size) + size * response)


def _mean(vectors: Float[Tensor, "*B W D"], concepts: Int[Tensor, "*B W"]) -> Float[Tensor, "*B D"]:
    """Over the concepts that there are; zeros where there is none."""
    there = (concepts > 0).unsqueeze(-1)
    return (vectors * there).sum(dim=-2) / there.sum(dim=-2).clamp(min=1)


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
    quick={"dim": 8, "hidden": 12},
)
