"""The task `tracing`: the probability that a student answers a question right, and what he has mastered.

A module of the task (`training.layers.tracer.Tracer`) speaks a state: `start`, `step` (an answer arrives), `ask` and
`mastery`, at constant cost for each answer; and a sequence form, held to the fold of the steps. The protocol of the
split is that of `training.data.tracing`; the plain served form is `training.tasks.tracing_served`.

Legend: B students, T answers of a student.
"""

from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from training.asking import Question, Shown, Tensors, as_ids, ordered
from training.data.simulated_students import Simulation, simulate
from training.data.tracing import NEEDS, TracingBatch, TracingData, TracingSplit, tracing_view
from training.interactions import Interactions, of_user
from training.layers.tracer import Tracer
from training.metrics import accuracy, auc, defined, log_loss
from training.servable import Signature
from training.system import PLAIN, Column, Predict, Stage, Task, Wanted
from training.tasks.tracing_served import MAX_ANSWERS, MAX_QUESTIONS, served
from training.traffic import CANDIDATES, VISITORS, candidates, visitors

FIRST_ANSWERS = 10
"""Of a new student, measured by themselves."""
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
    return cast(Tracer, module).loss(batch, share_done)


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
    default = "simulated-students"
    needs = NEEDS
    traffic = f"{VISITORS}, {CANDIDATES}"

    def view(self, interactions: Interactions, wanted: Wanted) -> TracingData:
        """As `tracing_view`."""
        return tracing_view(interactions, wanted)

    def tested(self, interactions: Interactions) -> str:
        found = tracing_view(interactions, PLAIN).test.measured()
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
        """Of all answers that count: auc, accuracy, log_loss; and auc of those of known students, of new ones, and of
        the first ten of these. An auc is left out where the answers are all right or all wrong."""
        measured = split.measured()
        answers = predict(_Logits(module, split.longest), split, batch_size=_MEASURED_STUDENTS)
        logits, label = answers[measured.sample, measured.step], measured.label
        parts = {
            "known": ~measured.is_new,
            "new": measured.is_new,
            "first": measured.is_new & (measured.step < FIRST_ANSWERS),
        }
        return defined(
            {
                "auc": lambda: auc(label, logits),
                "accuracy": lambda: accuracy(label, logits),
                "log_loss": lambda: log_loss(label, logits),
                **{f"auc {part}": partial(auc, label[rows], logits[rows]) for part, rows in parts.items()},
            }
        )

    def request(self, interactions: Interactions, question: Question) -> Tensors:
        """The student's newest answers, and the questions that are named as candidates, or else all."""
        question.refuse("history", "a history of items does not say what was right")
        if question.user is None:
            raise ValueError("say which student: --user ID")
        student = question.dense_user(interactions)
        answers = of_user(interactions.events, student).tail(MAX_ANSWERS)
        numbers = np.arange(1, min(len(interactions.items), MAX_QUESTIONS + 1))
        asked = question.candidates or interactions.raws("item", numbers)
        return {
            "user_id": as_ids(interactions, "user", [question.user]),
            "history": as_ids(interactions, "item", interactions.raws("item", answers["item"].to_numpy())),
            "responses": (answers["label"].to_numpy() > 0).astype(np.int64)[None],
            "questions": as_ids(interactions, "item", list(asked)),
        }

    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        """Questions by their probability of a right answer, and what is mastered of each concept."""
        right = int(request["responses"].sum())
        probability, asked = answer["probabilities"][0], request["questions"][0].tolist()
        rows: list[list[object]] = [
            [place, interactions.titles[interactions.dense("item", asked[number])], asked[number], value]
            for place, (number, value) in enumerate(
                ((number, float(probability[number])) for number in ordered(probability).tolist()), 1
            )
        ]
        names = interactions.schema.only("concept", "item").values
        mastery = (
            f"{names[number] if names else f'concept {number}'} {value:.2f}"
            for number, value in enumerate(answer["mastery"][0].tolist(), 1)
        )
        lines = (
            f"student {question.user} ({interactions.name}): {right} of {request['responses'].size} answers right",
            f"mastery: {', '.join(mastery)}",
        )
        number = len(interactions.items) - 1
        cut = (
            f", the first {MAX_QUESTIONS:,} of {number:,} questions"
            if len(asked) < number and not question.candidates
            else ""
        )
        return Shown(lines, f"probabilities of a right answer{cut}", ("", "title", "item", "probability"), rows)

    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        users = visitors(interactions, random, count)
        most = min(most, MAX_QUESTIONS)
        return [Question(user, (), candidates(interactions, random, most), most) for user in users]

    def release(self, name: str, module: nn.Module, data: TracingData) -> tuple[Signature, ...]:
        """As `training.tasks.tracing_served`: `<name>_start`, `<name>_step`, `<name>_ask`, then `name`."""
        return served(name, module, data)


TRACING = Tracing()
