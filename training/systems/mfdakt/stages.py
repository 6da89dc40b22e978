"""MF-DAKT's two stages: questions, where there is pre-training, then answers."""

from dataclasses import replace

from torch import Tensor, nn

from training.system import ParameterGroup, Stage
from training.systems.mfdakt.config import Config
from training.systems.mfdakt.evaluation import LOSS
from training.systems.mfdakt.model import MFDAKT
from training.systems.mfdakt.questions import QuestionBatch, Questions
from training.tasks.tracing import TRACING

_BATCH = 256
"""Questions of a step of pre-training."""


def stages(config: Config) -> tuple[Stage, ...]:
    """Questions are trained until their loss falls no more."""
    answers = replace(
        TRACING.stage(config),
        groups=(ParameterGroup(parameters=_students, learning_rate=config.student_rate, weight_decay=0.0),),
    )
    questions = replace(
        answers,
        name="questions",
        loss=_question_loss,
        epochs=config.pretraining_epochs,
        batch_size=_BATCH,
        learning_rate=config.pretraining_rate,
        weight_decay=0.0,
        samples=Questions,
        groups=(),
        monitor=LOSS,
        direction="min",
    )
    return (questions, answers) if config.pretraining else (answers,)


def _question_loss(module: nn.Module, batch: QuestionBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    assert isinstance(module, MFDAKT)
    return module.question_loss(batch, done)


def _students(module: nn.Module) -> list[nn.Parameter]:
    assert isinstance(module, MFDAKT)
    return [*(parameter for one in module.each for parameter in one.student.parameters())]
