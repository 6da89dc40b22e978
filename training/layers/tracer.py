"""What a tracing model speaks: a state that takes one answer after the other and is asked about questions.

Legend: B students, T answers, Q questions, C concepts, W concepts of a question, D any axes.
"""

from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.items import known
from training.layers.rows import rows

State = TypeVar("State", bound=tuple[Tensor, ...])
"""A NamedTuple of tensors [B, *D], float or int64, whose names are those of the served state and of no other input of
`training.tasks.tracing_served`. B is the only axis that varies."""


class Tracer(Protocol[State]):
    """What every module of the task `tracing` is, beside `nn.Module`. Ids that are no question's count as unknown."""

    bounds: tuple[tuple[int, int], ...]
    """Least and greatest value of each part of the state; a caller, who may send back any, is refused beyond them."""

    def prepare(self, data: TracingData, /) -> None:
        """Fills buffers from the training part."""
        ...

    def __call__(self, batch: TracingBatch, /) -> Float[Tensor, "B T"]:
        """The sequence form: logits of a right answer at each place, from the places before it."""
        ...

    def start(self, student: Int64[Tensor, " B"], /) -> State:
        """The state before any answer; student 0 is one of whom nothing is known."""
        ...

    def step(self, state: State, question: Int64[Tensor, " B"], response: Int64[Tensor, " B"], /) -> State:
        """The state after one more answer."""
        ...

    def ask(self, state: State, question: Int64[Tensor, " B"], /) -> Float[Tensor, " B"]:
        """Logits of a right answer to one question of each student."""
        ...

    def mastery(self, state: State, /) -> Float[Tensor, "B C"]:
        """What each student knows of concepts 1 to C, in [0, 1]."""
        ...

    def after(self, batch: TracingBatch, /) -> State:
        """The sequence form of the state after all answers of the batch, without a loop over them; places beyond a
        length, which may be 0 here, say nothing."""
        ...


class Learner(Tracer[State], Protocol[State]):
    """A tracer that the task's one stage trains; one with stages of its own need not be it."""

    def loss(self, batch: TracingBatch, share_done: float, /) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and scalars to log."""
        ...


class Folded(NamedTuple):
    """What the steps give, one answer after the other."""

    logits: Float[Tensor, "B T"]
    state: tuple[Tensor, ...]


def fold(tracer: Tracer[State], batch: TracingBatch) -> Folded:
    """start, ask, step, ask, step, ...: the definition of what the sequence form and `after` compute."""
    state, logits = tracer.start(batch.student), []
    for place, (question, response) in enumerate(zip(batch.questions.T, batch.responses.T, strict=True)):
        logits.append(tracer.ask(state, question))
        stepped = tracer.step(state, question, response)
        counts = place < batch.length
        kept = (_where(counts, new, old) for new, old in zip(stepped, state, strict=True))
        state = type(state)(*kept)
    return Folded(torch.stack(logits, dim=1) if logits else batch.counts, state)


def legal(tracer: Tracer[State], state: State) -> Bool[Tensor, " B"]:
    """Which states lie within the tracer's bounds; one that holds NaN does not."""
    ends = zip(state, tracer.bounds, strict=True)
    inside = [((part >= least) & (part <= most))[:, None].flatten(1).all(dim=1) for part, (least, most) in ends]
    return torch.stack(inside).all(dim=0)


def fold_gap(tracer: Tracer[State], batch: TracingBatch) -> float:
    """The rung `fold`: worst |sequence form - fold| / max(1, |fold|) of logits (up to each length) and state."""
    with torch.no_grad():
        folded = fold(tracer, batch)
        there = torch.arange(batch.questions.shape[1]) < batch.length[:, None]
        pairs = [(tracer(batch)[there], folded.logits[there]), *zip(tracer.after(batch), folded.state, strict=True)]
    return max(float(((one - two).abs() / two.abs().clamp(min=1)).amax()) for one, two in pairs)


def _where(counts: Bool[Tensor, " B"], new: Tensor, old: Tensor) -> Tensor:
    return torch.where(counts.reshape(-1, *[1] * (new.ndim - 1)), new, old)


class Concepts(nn.Module):
    """The concepts of each question."""

    of: Int64[Tensor, "Q+1 W"]

    def __init__(self, num_questions: int, width: int) -> None:
        """`num_questions` and the unknown one; at most `width` concepts each."""
        super().__init__()
        self.register_buffer("of", torch.zeros(num_questions, width, dtype=torch.int64))

    def prepare(self, concepts: np.ndarray) -> None:
        """Fills the table, int64 [Q + 1, W]."""
        self.of.copy_(torch.from_numpy(concepts))

    def known(self, question: Int[Tensor, "*B"]) -> Int[Tensor, "*B"]:
        """Questions, 0 for one that there is not."""
        return known(question, self.of.shape[0])

    def forward(self, question: Int[Tensor, "*B"]) -> Int64[Tensor, "*B W"]:
        """Concepts, 0 = none."""
        return rows(self.of, self.known(question))
