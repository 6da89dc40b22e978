"""A tiny system, and a process that trains it as one of torchrun's ranks."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from tests.training.click_views import histories
from training.data.click import HISTORY, ClickBatch, ClickData, ClickSplit
from training.fit import FitOptions, FitResult, fit
from training.metrics import auc, log_loss
from training.schema import Schema, size_of
from training.system import Stage, System
from training.tasks.click import CLICK


@dataclass(frozen=True, kw_only=True)
class Config:
    """Two stages: the item table alone, then everything."""

    width: int = 4
    epochs: tuple[int, ...] = (2, 3)
    dropout: float = 0.1
    learning_rate: float = 0.05
    patience: int = 2


class Tiny(nn.Module):
    """Logit = target embedding times (user bias + mean embedding of the well rated history), with dropout."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.items = nn.Embedding(size_of(schema.key("item")), config.width)
        nn.init.normal_(self.items.weight, std=0.3)
        self.scale = nn.Linear(1, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("popularity", torch.zeros(self.items.num_embeddings))

    def prepare(self, data: ClickData) -> None:
        """Fills the popularity."""
        self.get_buffer("popularity").copy_(torch.from_numpy(data.train_item_counts / 1000))

    def forward(self, batch: ClickBatch) -> Tensor:
        liked = (batch.history_values >= 4).float()
        history = torch.einsum("bl,bld->bd", liked, self.items(batch.history_items))
        mean = self.dropout(history / liked.sum(1, keepdim=True).clamp(min=1))
        match = (mean * self.items(batch.item)).sum(1, keepdim=True)
        return self.scale(match).squeeze(1) + self.get_buffer("popularity")[batch.item]


def loss(module: nn.Module, batch: ClickBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy."""
    logits = module(batch)
    value = functional.binary_cross_entropy_with_logits(logits, batch.label)
    return value, {"share": torch.tensor(share_done), "spread": logits.detach().std()}


def stages(config: Config) -> Sequence[Stage]:
    """Stage one leaves the linear layer alone."""
    stage = Stage(name="all", loss=loss, epochs=config.epochs[-1], batch_size=100, monitor="auc")
    stage = replace(stage, learning_rate=config.learning_rate, patience=config.patience)
    return [replace(stage, name="items", epochs=config.epochs[0], parameters=item_parameters), stage]


def item_parameters(module: nn.Module) -> list[nn.Parameter]:
    return [module.get_parameter("items.weight")]


def evaluate(module: nn.Module, predict: Callable[..., Any], split: ClickSplit) -> dict[str, float]:
    logits = predict(module, split)
    return {"auc": auc(split.label, logits), "log_loss": log_loss(split.label, logits)}


SYSTEM = System(
    name="tiny",
    title="A tiny system",
    paper="",
    provenance="",
    task=CLICK,
    config=Config,
    baseline=None,
    build=Tiny,
    reads=frozenset({HISTORY}),
    stages=stages,
    evaluate=evaluate,
)


def train(run: Path, config: Config | None = None, system: System = SYSTEM, **options: Any) -> FitResult:
    """Trains on the planted set, in 17 steps per epoch."""
    return fit(system, config or Config(), histories(), FitOptions(run=run, quiet=True, **options))


def killing_itself_at(step: int) -> System:
    """The tiny system whose loss sends the process SIGKILL when it is asked for the given step, from 0."""
    asked = 0

    def deadly(module: nn.Module, batch: ClickBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal asked
        if asked == step:
            os.kill(os.getpid(), signal.SIGKILL)
        asked += 1
        return loss(module, batch, share_done)

    return replace(SYSTEM, stages=lambda config: [replace(stage, loss=deadly) for stage in stages(config)])


def counting(rows: list[int]) -> System:
    """The tiny system that notes how many rows each step of this process had."""

    def counted(module: nn.Module, batch: ClickBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        rows.append(len(batch.label))
        return loss(module, batch, share_done)

    return replace(SYSTEM, stages=lambda config: [replace(stage, loss=counted) for stage in stages(config)])


def die(run: Path, step: int) -> None:
    """Trains until the given step kills the process."""
    train(run, system=killing_itself_at(step), checkpoint_every=5)


if __name__ == "__main__":
    folder, counts = Path(sys.argv[1]), list[int]()
    weights = train(folder, Config(dropout=0.0), system=counting(counts)).module.state_dict()
    save_file({**weights, "counts": torch.tensor(counts)}, folder / f"rank{os.environ['RANK']}.safetensors")
