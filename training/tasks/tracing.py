"""The task `tracing`: the probability that a student answers a question right, and what he has mastered.

A module of the task (`training.layers.tracer.Tracer`) speaks a state: `start`, `step` (an answer arrives), `ask` and
`mastery`, at constant cost for each answer; and a sequence form, held to the fold of the steps. The protocol of the
split is that of `training.data.tracing`; the plain served form is `training.tasks.tracing_served`.

Legend: B students, T answers of a student.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

from jaxtyping import Float
from torch import Tensor, nn

from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingBatch, TracingData, TracingSplit, tracing_view
from training.interactions import Interactions
from training.layers.tracer import Tracer
from training.metrics import accuracy, auc, log_loss
from training.servable import Signature
from training.system import Column, Data, Predict, Split, Stage, Task, Wanted
from training.tasks.tracing_served import served

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


def _loss(module: nn.Module, batch: NamedTuple, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
    assert isinstance(batch, TracingBatch)
    return cast(Tracer, module).loss(batch)


class Tracing(Task):
    """See the module's docstring."""

    name = "tracing"
    title = "Knowledge tracing"
    columns = (
        Column(title="AUC", metric="auc", judges=True),
        Column(title="Accuracy", metric="accuracy"),
        Column(title="Log loss", metric="log_loss", direction="min"),
        Column(title="AUC, known students later", metric="auc known"),
        Column(title="AUC, new students", metric="auc new"),
        Column(title=f"AUC, their first {FIRST_ANSWERS} answers", metric="auc first"),
    )
    default = "simulated-students"

    def view(self, interactions: Interactions, wanted: Wanted) -> TracingData:
        """As `tracing_view`."""
        return tracing_view(interactions, wanted)

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

    def evaluate(self, module: nn.Module, predict: Predict, split: Split) -> dict[str, float]:
        """Of all answers that count: auc, accuracy, log_loss; and auc of those of known students, of new ones, and of
        the first ten of these."""
        assert isinstance(split, TracingSplit)
        measured = split.measured()
        answers = predict(_Logits(module, split.longest), split, batch_size=_MEASURED_STUDENTS)
        logits, label = answers[measured.sample, measured.step], measured.label
        parts = {
            "known": ~measured.is_new,
            "new": measured.is_new,
            "first": measured.is_new & (measured.step < FIRST_ANSWERS),
        }
        return {
            "auc": auc(label, logits),
            "accuracy": accuracy(label, logits),
            "log_loss": log_loss(label, logits),
            **{f"auc {part}": auc(label[rows], logits[rows]) for part, rows in parts.items()},
        }

    def release(self, name: str, module: nn.Module, data: Data) -> tuple[Signature, ...]:
        """As `training.tasks.tracing_served`: `<name>_start`, `<name>_step`, `<name>_ask`, then `name`."""
        assert isinstance(data, TracingData)
        return served(name, module, data)


TRACING = Tracing()
