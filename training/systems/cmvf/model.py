"""CMVF's module: a host's logit, and beside it what a variational vector of the student says of the question.

    logit(q) = host(q) + <z, e_q>        z = the mean of the posterior, or the prior's where it has nothing to go by

Legend: B students, T answers, C concepts, K modes, R newest answers, E width of what is said of a student, D width of
the vector, *B any axes.
"""

from collections import namedtuple
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answers import AnswerCounts, QuestionEmbedding
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of
from training.systems.cmvf.hosts import Base, BaseName, Host
from training.systems.cmvf.modes import Likeness, Prior, Routing, moved, ring
from training.systems.cmvf.posteriors import ById, ByPrefix
from training.tasks.tracing import TracingConfig

State = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Sizes are ours, the paper's are unknown."""

    base: BaseName = "dkt"
    """Method that is wrapped: a recurrent network, or a factor model."""
    posterior: Literal["id", "prefix"] = "prefix"
    """Source of a student's distribution: who he is, one vector for all his answers, or his answers so far."""
    mode_extractor: Literal["softmax", "routing"] = "softmax"
    """Way to find modes: likeness of all answers so far to each mode, or routing of the newest ones to them."""
    vector: Literal["variational", "plain"] = "variational"
    """A distribution with the modes' prior, or a vector without one, a control."""
    modes: int = 8
    """Cognition modes; 1 is one prior for all, a control."""
    beta: float = 1.0
    """Weight of the KL divergence once it is warm; 1 is the exact evidence bound, 0 a control."""
    dim: int = 32
    """Width of DKT's embeddings of answers."""
    hidden: int = 64
    """DKT's hidden units."""
    vector_dim: int = 16
    """Width of a student's vector."""
    inference_units: int = 32
    """Hidden units of the network that infers his distribution."""
    temperature: float = 0.2
    """Divisor of the likenesses to modes."""
    window: int = 20
    """Newest answers that are routed."""
    prior_weight: float = 1e-3
    """Weight of the distance of the modes from N(0, I)."""
    entropy_weight: float = 0.02
    """Weight of the entropy of the mean shares, which keeps all modes in use."""
    warm_up: float = 0.05
    """Share of training without KL divergence and noise; it then grows to its weight over as long again."""
    unseen_rate: float = 0.5
    """Share of the students of a training batch who count as new where the posterior follows from who they are, so that
    the prior learns what to answer; of the control without a prior, who are unknown."""
    batch_size: int = 32
    """Students of a training step, over all processes."""
    learning_rate: float = 5e-3
    """Rate of AdamW."""


class Seen(NamedTuple):
    """What is known of students before an answer."""

    host: tuple[Tensor, ...]
    """State of the host, parts [*B, *D]."""
    described: Float[Tensor, "*B E"]
    """What it says of the answers."""
    number: Int[Tensor, "*B"]
    """As `Source` takes it."""
    log_share: Float[Tensor, "*B K"] | None
    """Of the modes; None where there is no prior."""


class CMVF(nn.Module):
    """Implements `training.layers.tracer.Tracer`. Its state is the host's, the number that a student's distribution
    follows from, and where modes are routed the ring of his newest answers."""

    def __init__(self, config: Config, base: Base, schema: Schema) -> None:
        super().__init__()
        self.config, self.wrapped, self.host_state, self.described = config, base.module, base.kind, base.described
        dim, units = config.vector_dim, config.inference_units
        self.readout = QuestionEmbedding(schema, dim)
        is_by_id = config.posterior == "id"
        self.source = ById(schema.key("user"), units, dim) if is_by_id else ByPrefix(base.width, units, dim)
        self.prior = Prior(_extractor(config, base, schema), dim, config.modes) if config.vector != "plain" else None
        self.concepts = Concepts(size_of(schema.key("item")), width_of(schema.only("concept", "item")))
        self.window = self.prior.extractor.window if self.prior else 0
        ring = ("asked", "answered") if self.window else ()
        ring_bounds = ((0, size_of(schema.key("item")) - 1), (0, 2)) if self.window else ()
        self.kind = namedtuple("CMVFState", (*base.names, self.source.name, *ring))
        self.bounds = (*self.host.bounds, (0, self.source.most), *ring_bounds)

    @property
    def host(self) -> Host[State]:
        """The method that is wrapped."""
        return cast(Host[State], self.wrapped)

    def prepare(self, data: TracingData) -> None:
        """Fills the host, says which ids training met and counts its answers by student."""
        self.host.prepare(data)
        self.concepts.prepare(data.concepts)
        self.readout.prepare(AnswerCounts.of(data))
        self.source.prepare(data)
        if self.prior:
            self.prior.extractor.prepare(data)

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits: each from what is seen before the answer."""
        seen = self.before(batch)
        return self.logits(seen, self.vector(seen), batch.questions)

    def start(self, student: Int64[Tensor, " B"]) -> State:
        """The host's start and the student's number; nothing was answered."""
        none = (student.new_zeros(student.shape[0], self.window),) * (2 if self.window else 0)
        return self.kind(*self.host.start(student), self.source.start(student)[:, None], *none)

    def step(self, state: State, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"]) -> State:
        """The host's step; one answer more."""
        host, number, ring = self._parts(state)
        new = self.concepts.known(question), response + 1
        further = (moved(old, one) for old, one in zip(ring, new, strict=False))
        return self.kind(*self.host.step(host, question, response), self.source.step(number)[:, None], *further)

    def ask(self, state: State, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits."""
        seen = self.seen(state)
        return self.logits(seen, self.vector(seen), question)

    def mastery(self, state: State) -> Float[Tensor, "B C"]:
        """Probabilities of right answers by the concepts alone, of host and vector."""
        seen = self.seen(state)
        of_vector = self.vector(seen) @ self.readout.concept.table()[1:].T
        return (self.host.of_concepts(seen.host) + of_vector).sigmoid()

    def after(self, batch: TracingBatch) -> State:
        """The state after each student's last answer."""
        further = ring(batch, self.concepts.known(batch.questions), self.window) if self.window else ()
        return self.kind(*self.host.after(batch), self.source.after(batch)[:, None], *further)

    def before(self, batch: TracingBatch) -> Seen:
        """What is known before each answer of a batch."""
        host = self.host.before(batch)
        described = self.described(*host)
        log_share = self.prior.extractor.before(batch, described) if self.prior else None
        return Seen(host, described, self.source.before(batch), log_share)

    def seen(self, state: State) -> Seen:
        """What is known in a state."""
        host, number, ring = self._parts(state)
        described = self.described(*host)
        log_share = self.prior.extractor(described, *ring) if self.prior else None
        return Seen(host, described, number, log_share)

    def centre(self, seen: Seen) -> Float[Tensor, "*B D"]:
        """The prior's mean; zeros without one."""
        if self.prior is None:
            return seen.described.new_zeros(*seen.number.shape, self.config.vector_dim)
        assert seen.log_share is not None
        return self.prior.centre(seen.log_share)

    def vector(self, seen: Seen) -> Float[Tensor, "*B D"]:
        """The student's vector as it is served."""
        centre = self.centre(seen)
        mean = self.source(seen.number, seen.described, centre).mean
        if self.prior is None:
            return mean
        return torch.where(self.source.samples(seen.number)[..., None] > 0, mean, centre)

    def logits(self, seen: Seen, vector: Float[Tensor, "*B D"], question: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """With these vectors of the students."""
        read = self.readout(question, self.concepts(question))
        return self.host.ask(seen.host, question) + (vector * read).sum(dim=-1)

    def _parts(self, state: State) -> tuple[State, Tensor, State]:
        """State of the host, the number [B], the ring."""
        end = len(self.host.bounds)
        return self.host_state(*state[:end]), state[end][:, 0], state[end + 1 :]


def _extractor(config: Config, base: Base, schema: Schema) -> Likeness | Routing:
    if config.mode_extractor == "routing":
        return Routing(schema, config.vector_dim, config.modes, config.window)
    return Likeness(base.width, config.vector_dim, config.modes, config.temperature)
