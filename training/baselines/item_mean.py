"""Item mean: each question's share of right answers in the training part, for every student alike (our design).

What a model of students gains over it is what it knows of the student; one that gains nothing knows how hard the
questions are and no more.

Legend: B students, T answers, Q questions, C concepts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.items import known
from training.layers.rows import rows
from training.schema import Schema, size_of
from training.system import System
from training.tasks.tracing import TRACING, TracingConfig, variant_of
from training.warm_start import Axis

_MOST = 2**24
"""Answers: up to there a float32 counts each one."""


@dataclass(frozen=True, kw_only=True)
class Config(TracingConfig):
    """Nothing to choose but the split."""


class ItemMeanState(NamedTuple):
    """What is kept of a student, of which nothing is read."""

    answers: Float[Tensor, "B 1"]


class ItemMean(nn.Module):
    """Implements `training.layers.tracer.Tracer` but for the loss: there are no steps."""

    bounds = ((0, _MOST),)

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.key, self.concept = schema.key("item"), schema.only("concept", "item")
        self.question, self.mean = (
            nn.Parameter(torch.zeros(size_of(field)), requires_grad=False) for field in (self.key, self.concept)
        )

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"question": Axis((self.key,)), "mean": Axis((self.concept,), of_values=True)}

    def prepare(self, data: TracingData) -> None:
        """Counts right answers by question and by concept; one that was never asked has the share of all answers."""
        answers = data.train.measured()
        prior = answers.label.mean()
        for table, ids in ((self.question, answers.question[:, None]), (self.mean, data.concepts[answers.question])):
            right = np.broadcast_to(answers.label[:, None], ids.shape)[ids > 0]
            asked, met = np.bincount(ids[ids > 0], minlength=len(table)), np.bincount(ids[ids > 0], right, len(table))
            table.copy_(torch.from_numpy((met + prior) / (asked + 1)).logit())

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        """Logits of the questions."""
        return self._logit(batch.questions)

    def start(self, student: Int64[Tensor, " B"]) -> ItemMeanState:
        """No answers."""
        return ItemMeanState(self.question.new_zeros(student.shape[0], 1))

    def step(self, state: ItemMeanState, question: Tensor, response: Tensor) -> ItemMeanState:
        """One answer more."""
        return ItemMeanState((state.answers + 1).clamp(max=_MOST))

    def ask(self, state: ItemMeanState, question: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Logits of the questions, whoever is asked."""
        return self._logit(question)

    def mastery(self, state: ItemMeanState) -> Float[Tensor, "B C"]:
        """The share of right answers on each concept."""
        return self.mean[1:].sigmoid().expand(state.answers.shape[0], -1)

    def after(self, batch: TracingBatch) -> ItemMeanState:
        """The number of answers."""
        return ItemMeanState(batch.length[:, None].to(self.question.dtype).clamp(max=_MOST))

    def _logit(self, question: Tensor) -> Tensor:
        return rows(self.question, known(question, self.question.shape[0]))


SYSTEM = System(
    name="item_mean",
    title="Share of right answers of each question",
    paper="",
    provenance="our design",
    task=TRACING,
    config=Config,
    baseline=None,
    build=ItemMean,
    stages=lambda _config: (),
    variant=variant_of,
)
