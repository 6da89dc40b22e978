"""What SFKT learns beside the answers: that a student stays who he is where his history is changed (our design).

Of each student an answer is drawn. The history before it is changed twice, both times into a state of its own: counts
and window are those of the changed history. The answer itself, and its question, are never changed.

Legend: B students, T answers, K questions, D width.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch
from training.layers.contrast import info_nce
from training.systems.sfkt.augmentation import History

COMPARED = 4
"""Questions of each step by which students are compared."""
_TEMPERATURE = 0.1
_SHORT = 20
"""Answers after which a history counts half."""


class Prefix(NamedTuple):
    """The answers of students before one of each."""

    history: History
    question: Int64[Tensor, " B"]
    response: Int64[Tensor, " B"]
    weight: Float[Tensor, " B"]
    """The shorter the history, the more; 0 without one."""
    counts: Float[Tensor, " B"]
    """1 where the answer is to be learnt."""


def drawn(batch: TracingBatch) -> Prefix:
    """Of each student as much as an answer has before it, any but the first."""
    share = torch.rand_like(batch.counts[:, 0])
    length = ((batch.length - 1) * share).long() + (batch.length > 1)
    width, place = max(1, int(length.max())), length[:, None]
    there = torch.arange(width, device=length.device) < place
    asked, right = (torch.where(there, one[:, :width], 0) for one in (batch.questions, batch.responses))
    question, response, counts = (
        one.gather(1, place)[:, 0] for one in (batch.questions, batch.responses, batch.counts)
    )
    weight = torch.where(length > 0, 1 / (1 + length / _SHORT), 0.0)
    return Prefix(History(asked, right, length), question, response, weight, counts)


class Contrast(nn.Module):
    """How little two states of a student are alike, beside those of the others of the batch."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projected = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, first: Float[Tensor, "B K D"], second: Float[Tensor, "B K D"]) -> Float[Tensor, " B"]:
        """Of what the network makes of both where K questions are asked, the same of all students: so nothing but the
        history tells one student from another."""
        pairs = zip(*(self.projected(one).unbind(dim=1) for one in (first, second)), strict=True)
        return torch.stack([info_nce(one, two, _TEMPERATURE) for one, two in pairs]).mean(dim=0)
