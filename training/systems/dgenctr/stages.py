"""DGenCTR's two stages, and which training rows have a label."""

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData, ClickSplit
from training.layers.field_diffusion import generative_loss
from training.layers.field_generator import FieldGenerator, GeneratorConfig
from training.system import Stage
from training.tasks.click import CLICK

_SEED = 0
"""Of the rows that have a label: the same ones for every seed of training, fewer of them a part of more."""
SHORTEST = 1 << 14
"""Samples of an epoch at least: few rows with labels are gone through so often."""


def stages(config: GeneratorConfig) -> tuple[Stage, ...]:
    """Generative, where there is pre-training; then clicks."""
    pretrained = config.pretraining != "none"
    goes_on = pretrained and config.transfer == "all"

    def loss(module: nn.Module, batch: ClickBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(module, FieldGenerator)
        return generative_loss(module, batch, config)

    click = replace(
        CLICK.stage(config),
        name="click",
        samples=lambda data: labelled(data, config.labels),
        learning_rate=config.learning_rate * (config.fine_tuning if goes_on else 1.0),
    )
    generate = replace(
        click,
        name="generate",
        loss=loss,
        epochs=config.pretraining_epochs,
        learning_rate=config.pretraining_rate,
        weight_decay=config.pretraining_decay,
        samples=lambda data: all_rows(data, config.labels),
        monitor="generation",
        direction="min",
    )
    return (generate, click) if pretrained else (click,)


def all_rows(data: ClickData, share: float) -> ClickSplit:
    """The training part, with NaN for the label of rows that have none."""
    part = ClickSplit(data.train.source, data.train.places)
    hidden = np.ones(len(part), bool)
    hidden[chosen(len(part), share)] = False
    part.label = np.where(hidden, np.float32(np.nan), part.label)
    return part


def labelled(data: ClickData, share: float) -> ClickSplit:
    """The rows of the training part that have a label, each as often as an epoch needs."""
    rows = chosen(len(data.train), share)
    least = min(SHORTEST, len(data.train))
    times = -(-least // len(rows))
    return ClickSplit(data.train.source, data.train.places[np.tile(rows, times)])


def chosen(count: int, share: float) -> np.ndarray:
    """int64: the numbers of the rows that have a label, at least one, in order."""
    order = np.random.default_rng(_SEED).permutation(count)
    return np.sort(order[: max(1, round(share * count))])
