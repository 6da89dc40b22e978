"""MF-DAKT's module: factors of practice of the questions that are asked, scored by its subspaces.

Legend: B students, T answers, N rows, Q questions, C concepts, W concepts of a question.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answers import AnswerCounts
from training.layers.items import IdEmbedding, known
from training.layers.rows import rows
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.systems.mfdakt.config import Config
from training.systems.mfdakt.practice import MOST, RIGHT, Practice, after, before
from training.systems.mfdakt.questions import UNASKED, QuestionBatch, difficulties, relation
from training.systems.mfdakt.subspace import Rows, Subspace
from training.warm_start import Axis

_CHUNK = 256
"""Students whose practice is counted in one go."""
_FORGETTING = -3.0
"""Where the raw rates of forgetting start: 0.05 for each answer."""


class State(NamedTuple):
    """What is kept of a student: who he is, and his practice of each concept, 0 for no concept."""

    who: Int64[Tensor, "B 1"]
    wins: Int64[Tensor, "B C+1"]
    fails: Int64[Tensor, "B C+1"]
    last: Int64[Tensor, "B C+1"]
    ago: Int64[Tensor, "B C+1"]


class MFDAKT(nn.Module):
    """Implements `training.layers.tracer.Learner`."""

    difficulty: Float32[Tensor, " Q+1"]
    """Shares of right answers in the training part, `UNASKED` of a question that it did not ask."""
    answered: Bool[Tensor, ""]
    """Whether answers have trained it."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config, concept, questions = config, schema.only("concept", "item"), size_of(schema.key("item"))
        self.students, self.num_concepts = size_of(schema.key("user")), size_of(concept)
        self.bounds = ((0, self.students - 1), (0, MOST), (0, MOST), (0, RIGHT), (0, config.longest_interval))
        self.concepts = Concepts(questions, width_of(concept))
        self.rate = IdEmbedding(Axis((concept,), of_values=True), 1)
        kinds = ("interaction", "sum") if config.subspaces == "both" else (config.subspaces,)
        self.subspaces = nn.ModuleList(Subspace(kind, config, schema) for kind in kinds)
        self.bias = nn.Parameter(torch.zeros(()))
        nn.init.constant_(self.rate.weight, _FORGETTING)
        self.register_buffer("difficulty", torch.full((questions,), UNASKED))
        self.register_buffer("answered", torch.tensor(False))

    def prepare(self, data: TracingData) -> None:
        """Fills the concepts of the questions and their difficulties, and says what training met."""
        self.concepts.prepare(data.concepts)
        counts = AnswerCounts.of(data)
        self.difficulty.copy_(torch.from_numpy(difficulties(counts)))
        asked = counts.question.sum(axis=0)
        if self.config.pretraining:
            # Their vectors are trained without an answer, by their concepts.
            asked += (data.concepts > 0).any(axis=1)
        met = _Met.of(self, data)
        self.rate.prepare(met.recent.reshape(3, -1).sum(axis=0))
        for one in self.each:
            one.student.prepare(met.student)
            one.question.prepare(asked)
            one.concept.prepare(met.recent.reshape(3, -1).sum(axis=0))
            one.success.prepare(met.wins)
            one.fail.prepare(met.fails)
            one.recent.prepare(met.recent)

    @property
    def each(self) -> list[Subspace]:
        """The subspaces."""
        return [one for one in self.subspaces if isinstance(one, Subspace)]

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from the practice before the answer."""
        return self.logit(self.rows(batch)).reshape(batch.questions.shape)

    def loss(self, batch: TracingBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the answers that count, and what each subspace's question vectors tell of difficulty beside
        what is true: mean squares. Nothing else is scored, so that norms are taken over these answers alone."""
        self.answered.fill_(True)
        counts = batch.counts.flatten() > 0
        x = Rows(*(part[counts] for part in self.rows(batch)))
        unknown = torch.rand(x.student.shape, device=x.student.device) < self.config.unknown_rate
        logit, right = self.logit(x._replace(student=torch.where(unknown, 0, x.student))), batch.responses.flatten()
        answers = nn.functional.binary_cross_entropy_with_logits(logit, right[counts].to(logit.dtype))
        if not self.config.difficulty_weight:
            return answers, {}
        target = rows(self.difficulty, x.question)
        told = torch.stack([nn.functional.mse_loss(one.tell(x.question), target) for one in self.each]).sum()
        return answers + self.config.difficulty_weight * told, {
            "answers": answers.detach(),
            "difficulty": told.detach(),
        }

    def question_loss(self, batch: QuestionBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the pre-training, summed over the subspaces: mean squares of what products of vectors are beside the
        relations of questions, and of difficulties."""
        wanted = relation(self.concepts.of[1:], batch.question - 1, self.num_concepts, self.config.relation)
        target = rows(self.difficulty, batch.question)
        related, told = [], []
        for one in self.each:
            own = rows(one.question.weight, batch.question)
            related.append((own @ one.question.weight[1:].T - wanted).square().mean())
            off = one.told_first(own)[:, 0] - target
            told.append(torch.where(target == UNASKED, 0.0, off).square().mean())
        parts = {"relation": torch.stack(related).sum(), "difficulty": torch.stack(told).sum()}
        return parts["relation"] + parts["difficulty"], {name: part.detach() for name, part in parts.items()}

    def start(self, student: Int64[Tensor, " B"]) -> State:
        """No practice."""
        student = known(student, self.students)[:, None]
        return State(student, *(student.new_zeros(student.shape[0], self.num_concepts) for _ in range(4)))

    def step(self, state: State, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> State:
        """Counts the answer for each concept of the question, and as one more since all others."""
        concepts = self.concepts(question)[:, :, None]
        every = torch.arange(self.num_concepts, device=concepts.device)
        practised = ((concepts == every) & (concepts > 0)).any(dim=1)
        stepped = Practice(*state[1:]).then(practised, response, self.config.longest_interval)
        return State(state.who, *stepped)

    def ask(self, state: State, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        concepts = self.concepts(question)
        practice = Practice(*state[1:]).at(concepts)
        return self.logit(self.of(state.who[:, 0], self.concepts.known(question), concepts, practice))

    def mastery(self, state: State) -> Float[Tensor, "B C"]:
        """Probabilities of right answers to a question of each concept alone of which nothing else is known."""
        each = (part[:, 1:].flatten()[:, None] for part in state[1:])
        concepts = torch.arange(1, self.num_concepts, device=state.who.device)
        student = state.who.expand(-1, len(concepts))
        concepts = concepts.expand_as(student).flatten()[:, None]
        x = self.of(student.flatten(), torch.zeros_like(concepts[:, 0]), concepts, Practice(*each))
        return self.logit(x).reshape(student.shape).sigmoid()

    def after(self, batch: TracingBatch) -> State:
        """The practice of all answers."""
        concepts, most = self.concepts(batch.questions), self.config.longest_interval
        found = after(concepts, batch.responses, batch.length, self.num_concepts, most)
        return State(known(batch.student, self.students)[:, None], *found)

    def logit(self, x: Rows) -> Float[Tensor, " N"]:
        """Of all subspaces and the bias."""
        return torch.stack([one(x).logit for one in self.each]).sum(dim=0) + self.bias

    def rows(self, batch: TracingBatch) -> Rows:
        """All places of a batch, N = B T."""
        concepts = self.concepts(batch.questions)
        practice = before(concepts, batch.responses, self.num_concepts, self.config.longest_interval)
        student = batch.student[:, None].expand_as(batch.questions).flatten()
        flat = Practice(*(part.flatten(0, 1) for part in practice))
        return self.of(student, self.concepts.known(batch.questions).flatten(), concepts.flatten(0, 1), flat)

    def of(self, student: Tensor, question: Tensor, concepts: Int64[Tensor, "N W"], practice: Practice) -> Rows:
        """With the weights of the factors: counts, and what is not forgotten of the last result."""
        kind, there = self.rate.weight.dtype, concepts > 0
        wins, fails = (part.to(kind) for part in (practice.wins, practice.fails))
        if self.config.counts == "log":
            wins, fails = wins.log1p(), fails.log1p()
        kept = torch.where(there, self.kept(concepts, practice.ago.to(kind)), 0.0)
        return Rows(student, question, concepts, practice.last.clamp(0, RIGHT), wins, fails, kept)

    def kept(self, concepts: Int64[Tensor, "*N"], ago: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """exp(-rate ago) of the concepts' rates, which softplus keeps above 0; 1 with no practice."""
        if self.config.recent == "none":
            return torch.zeros_like(ago)
        if self.config.recent == "last":
            return torch.ones_like(ago)
        return (-nn.functional.softplus(self.rate(concepts)[..., 0]) * ago).exp()


class _Met(NamedTuple):
    """How many rows of the training part move each row of a table."""

    student: np.ndarray
    wins: np.ndarray
    fails: np.ndarray
    recent: np.ndarray
    """int64 [3 (C + 1)]"""

    @classmethod
    def of(cls, module: MFDAKT, data: TracingData) -> "_Met":
        size, split = module.num_concepts, data.train
        found = [np.zeros(length, np.int64) for length in (module.students, size, size, 3 * size)]
        order = np.argsort(split.cost(), kind="stable")
        for start in range(0, len(order), _CHUNK):
            batch = split.batch(order[start : start + _CHUNK])
            x = Rows(*(part[batch.counts.flatten() > 0] for part in module.rows(batch)))
            there = x.concepts > 0
            kinds = x.concepts + size * (RIGHT - x.last)
            met = x.student, x.concepts[x.wins > 0], x.concepts[x.fails > 0], kinds[there]
            for counts, ids in zip(found, met, strict=True):
                counts += np.bincount(ids.numpy().ravel(), minlength=len(counts))
        if module.config.unknown_rate:
            found[0][0] = round(module.config.unknown_rate * found[0].sum())
        return cls(*found)
