"""The task `tracing`: the probability that a student answers a question right, and what he has mastered.

A module of the task (`training.layers.tracer.Tracer`) speaks a state: `start`, `step` (an answer arrives), `ask` and
`mastery`, at constant cost for each answer; and a sequence form, held to the fold of the steps. The protocol of the
split is that of `training.data.tracing`; the plain served form is `training.tasks.tracing_served`.

Legend: B students, T answers of a student.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from training.asking import Course, Infer, Question, Shown, Tensors
from training.data.simulated_students import Simulation, simulate
from training.data.tracing import NEEDS, TracingBatch, TracingData, TracingSplit, tracing_view
from training.data.tracing_parts import SplitName
from training.interactions import Interactions
from training.layers.tracer import Learner
from training.metrics import accuracy, defined, log_loss
from training.servable import Signature
from training.system import PLAIN, Column, Predict, Stage, Task, Wanted
from training.tasks import tracing_asked
from training.tasks.tracing_counterfactual import counterfactual
from training.tasks.tracing_course import course
from training.tasks.tracing_kept_served import kept
from training.tasks.tracing_served import MAX_QUESTIONS, served
from training.tasks.tracing_slices import FIRST_ANSWERS, OF_BINS, SLICES, aucs, calibration, mastery
from training.traffic import CANDIDATES, VISITORS, candidates, visitors

_MEASURED_STUDENTS = 64
"""Students of a batch of the evaluation, which reads all answers of each."""


@dataclass(frozen=True, kw_only=True)
class TracingConfig:
    """What all systems of the task can be told."""

    max_length: int = 200
    """Answers of a training sample; a longer sequence becomes several. Held-out answers have all before them."""
    epochs: int = 20
    """Passes over the training part at most; the one that is best on the validation part counts."""
    batch_size: int = 64
    """Students of a training step, over all processes."""
    learning_rate: float = 3e-3
    """Rate of AdamW."""
    weight_decay: float = 0.0
    """Decay of AdamW: each step takes this times the learning rate off every weight."""
    patience: int = 3
    """Epochs without a better auc on validation before training stops."""
    split: SplitName = "chronological"
    """Answers that test: the last ones of known students and all of new ones, or any, drawn at random. The latter
    leaks, as answers train that were given after those that test: it is for comparison with figures published by it."""


def variant_of(config: TracingConfig) -> str:
    """Name of the split, where it is not the task's own; for `System.variant`."""
    return "" if config.split == "chronological" else f"leaking-{config.split}-split"


def cross_entropy(logits: Float[Tensor, "B T"], batch: TracingBatch) -> Float[Tensor, ""]:
    """Mean binary cross-entropy, in nats, of the answers that count."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, batch.responses.to(logits.dtype), reduction="none")
    return (each * batch.counts).sum() / batch.counts.sum().clamp(min=1)


class _Logits(nn.Module):
    """The module as `predict` wants it: logits [B, T] of as many places in every batch."""

    def __init__(self, module: nn.Module, longest: int) -> None:
        super().__init__()
        self.module, self.longest = module, longest

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B T"]:
        logits = self.module(batch)
        return nn.functional.pad(logits, (0, self.longest - logits.shape[1]))


def _loss(module: nn.Module, batch: TracingBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    return cast(Learner, module).loss(batch, share_done)


class Tracing(Task[TracingData, TracingSplit]):
    """See the module's docstring."""

    name = "tracing"
    title = "knowledge tracing"
    columns = (
        Column(title="AUC", metric="auc", judges=True),
        Column(title="Accuracy", metric="accuracy"),
        Column(title="Log loss", metric="log_loss", direction="min"),
        Column(title="AUC, known students later", metric="auc known"),
        Column(title="AUC, new students", metric="auc new"),
        Column(title=f"AUC, their first {FIRST_ANSWERS} answers", metric="auc first"),
    )
    further = SLICES
    only_drawn = OF_BINS
    default = "simulated-students"
    needs = NEEDS
    traffic = f"{VISITORS}, {CANDIDATES}"
    person = "student"

    def view(self, interactions: Interactions, wanted: Wanted) -> TracingData:
        """As `tracing_view`."""
        return tracing_view(interactions, wanted)

    def tested(self, interactions: Interactions) -> str:
        found = tracing_view(interactions, PLAIN).test.measured()
        if "part" in interactions.events.columns:
            return f"{len(found.row):,} answers of {len(np.unique(found.sample)):,} students, as the set gives them"
        later, new = (
            f"{int(some.sum()):,} answers of {len(np.unique(found.sample[some])):,} {which} students"
            for some, which in ((~found.is_new, "known"), (found.is_new, "new"))
        )
        return f"{later}, the last fifth of each, and all {new}"

    def planted(self, seed: int = 0) -> Interactions:
        """400 simulated students in two modes, 40 questions of 5 concepts."""
        return simulate(Simulation(), seed).interactions

    def stage(self, config: object) -> Stage:
        """The module's own loss, stopped by AUC."""
        assert isinstance(config, TracingConfig)
        return Stage(
            name="answers",
            loss=_loss,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            monitor="auc",
        )

    def evaluate(self, module: nn.Module, predict: Predict, split: TracingSplit) -> dict[str, float]:
        """Of all answers that count: auc, accuracy, log_loss, bins of calibration; auc of parts of them as `aucs`, and
        `mastery`. An auc is left out where the answers are all right or all wrong."""
        measured = split.measured()
        answers = predict(_Logits(module, split.longest), split, batch_size=_MEASURED_STUDENTS)
        logits, label = answers[measured.sample, measured.step], measured.label
        return {
            **defined(aucs(measured, logits)),
            "accuracy": accuracy(label, logits),
            "log_loss": log_loss(label, logits),
            **calibration(label, logits),
            **mastery(module, predict, split, _MEASURED_STUDENTS),
        }

    def request(self, interactions: Interactions, question: Question) -> Tensors:
        """As `training.tasks.tracing_asked.request`."""
        return tracing_asked.request(interactions, question)

    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        """Questions by their probability of a right answer."""
        return tracing_asked.shown(interactions, question, request, answer)

    def beside(self, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
        """What is mastered of each concept."""
        return [tracing_asked.mastered(interactions, request, answer)]

    def towards(self, shown: Shown, target: float) -> Shown:
        """Questions by nearness of their probability to the target."""
        return tracing_asked.towards(shown, target)

    def explained(
        self, infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors
    ) -> list[Shown]:
        """What the model would say, had the last answer been the other one."""
        return counterfactual(infer, model, interactions, request)

    def course(self, infer: Infer, model: str, interactions: Interactions, request: Tensors) -> Course:
        """Mastery of the concepts that were answered most, from answer to answer."""
        return course(infer, model, interactions, request)

    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        users = visitors(interactions, random, count)
        most = min(most, MAX_QUESTIONS)
        return [Question(user, (), candidates(interactions, random, most), most) for user in users]

    def release(self, name: str, module: nn.Module, data: TracingData) -> tuple[Signature, ...]:
        """As `training.tasks.tracing_served`: `<name>_start`, `<name>_step`, `<name>_ask`, then `name`; before them,
        where live histories know what was right, the models of `training.tasks.tracing_kept_served`."""
        return *kept(name, module, data), *served(name, module, data)


TRACING = Tracing()
