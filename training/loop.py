"""One pass through a system's stages, step by step, with checkpoints; `training/fit.py` starts it.

Each step seeds its own random numbers from (seed, stage, epoch, step, rank), so that a resumed run draws what an
uninterrupted one draws.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from training.checkpoint import Metrics, Weights, snapshot
from training.data.batching import batches, by_cost
from training.layers.row_wise import is_spread
from training.optimizing import only_trainable, optimizer_of, rate
from training.resuming import Checkpoints, OptimizerState, TrainingState
from training.resuming import Progress as Standing
from training.row_wise import clip, put
from training.system import Data, Split, Stage, System

if TYPE_CHECKING:
    # Its import takes longer than all others together; only `fit` needs it, and every command imports this module.
    from lightning_fabric import Fabric

GRADIENT_NORM = 10.0
_LOG_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How to run the loop."""

    run: Path
    """Folder of the run; must not hold one, unless `resume`."""
    seed: int = 0
    resume: bool = False
    checkpoint_every: int = 50
    """Steps."""
    max_epochs: int | None = None
    """Fewer (or more) epochs than each stage asks for."""
    until: str | None = None
    """Day before which the data's events lie; the run remembers it."""
    init_from: Path | None = None
    """Folder of a finished run to start from: rows of tables are matched by raw id."""
    accelerator: Literal["cpu", "auto"] = "cpu"
    tables: Literal["whole", "row-wise"] = "whole"
    """Row-wise: the rows of tables by id are spread over the processes."""
    quiet: bool = False
    """No progress bar."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "max_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative")


def predict(module: nn.Module, split: Split, batch_size: int = 4096, fabric: "Fabric | None" = None) -> np.ndarray:
    """What the module answers, float32 [len(split), ...] in sample order, in evaluation mode.

    With a fabric of several ranks each computes its share and every one gets the whole.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    device = next(module.parameters()).device
    spread = any(is_spread(one) for one in module.parameters())
    # A module may be wrapped for a measurement, so its parts need not all be in one mode.
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    with torch.inference_mode():
        one = module(_moved(split.batch(np.zeros(1, np.int64)), device))
        answers = torch.zeros(len(split), *one.shape[1:], device=device)
        for part in by_cost(split.cost(), batch_size):
            rows = part[rank::world]
            if len(rows) or spread:
                # Rows of tables are asked for by all processes at once, also by one that has nothing to answer.
                found = module(_moved(split.batch(rows if len(rows) else part[:1]), device)).float()
                answers[torch.from_numpy(rows).to(device)] = found[: len(rows)]
    for part, training in modes:
        part.training = training
    if fabric and world > 1:
        # Each sample is zero on every rank but one, so the sum is exact.
        answers = fabric.all_reduce(answers, reduce_op="sum")
        assert isinstance(answers, Tensor)
    return answers.cpu().numpy()


def _moved(batch: NamedTuple, device: torch.device) -> NamedTuple:
    """The tensors of a batch on the device."""
    return batch._make(part.to(device) for part in batch)


class _Objective(nn.Module):
    """A stage's loss as a forward pass, so that whatever it calls on the module runs inside the data-parallel wrap."""

    def __init__(self, module: nn.Module, stage: Stage, tables: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self._loss = stage.loss
        # No process has these as a whole, so that they are not kept alike.
        self._ddp_params_and_buffers_to_ignore = [f"module.{name}" for name in tables]

    def forward(self, batch: Any, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(self.module, batch, share_done)


class Training(NamedTuple):
    """What is trained, on what, and how."""

    fabric: "Fabric"
    system: System
    module: nn.Module
    data: Data
    options: FitOptions


class Loop:
    """What all stages share, and the state that moves with every step."""

    def __init__(self, training: Training, tables: Sequence[str]) -> None:
        """`tables` are the parameters whose rows are spread over the processes."""
        self.fabric, self.system, self.module, self.data, self.options = training
        self.tables, self.checkpoints = tables, Checkpoints(self.options.run, self.fabric, tables)
        self.log = self.options.run / "metrics.jsonl"
        state = self.checkpoints.load() if self.options.resume else None
        self.progress = state.progress if state else Standing()
        self.best: Weights = state.best if state else {}
        self.optimizer_state: OptimizerState = state.optimizer if state else {}
        if state:
            put(self.module, state.weights)
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            # Lines after the checkpoint will be written again.
            with self.log.open("ab") as file:
                file.truncate(self.progress.log_bytes)

    def train(self, stages: Sequence[Stage]) -> Metrics:
        """Runs the stages that are left; returns the final metrics."""
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        hidden = self.options.quiet or not self.fabric.is_global_zero
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), disable=hidden) as bar:
            for number in range(self.progress.stage, len(stages)):
                stage = replace(stages[number], epochs=self.options.max_epochs or stages[number].epochs)
                self._stage(stage, bar, last=number == len(stages) - 1)
        self.fabric.barrier()
        final = {"validation": self._validation(stages), "test": self._evaluate(self.data.test)}
        self.fabric.barrier()
        return self._after_stages() | final

    def _validation(self, stages: Sequence[Stage]) -> dict[str, float]:
        """Of the weights that are kept: what their epoch measured; measured now where there was none."""
        for stage in stages[-1:]:
            lines = (json.loads(line) for line in self.log.read_text().splitlines())
            epochs = [one["validation"] for one in lines if one["kind"] == "epoch" and one["stage"] == stage.name]
            if epochs:
                sign = 1 if stage.direction == "max" else -1
                return max(epochs, key=lambda measured: sign * measured[stage.monitor])
        return self._evaluate(self.data.validation)

    def _stage(self, stage: Stage, bar: Progress, *, last: bool) -> None:
        with only_trainable(self.module, stage) as parameters:
            optimizer = optimizer_of(self.module, stage, parameters, self.optimizer_state)
            objective, optimizer = self.fabric.setup(_Objective(self.module, stage, self.tables), optimizer)
            steps = len(self._batches(stage, 0))
            done = self.progress.epoch * steps + self.progress.step
            task = bar.add_task(f"{self.system.name} {stage.name}", total=stage.epochs * steps, completed=done, note="")
            while self.progress.epoch < stage.epochs and self.progress.stale < stage.patience:
                for loss in self._epoch(stage, objective, optimizer):
                    bar.update(task, advance=1, note=_note(loss, stage.monitor, self.progress.best))
                self._validate(stage)
                self._checkpoint(optimizer)
                best = _note(None, stage.monitor, self.progress.best)
                bar.update(task, note=best)
                if not (bar.disable or bar.console.is_terminal):
                    bar.console.print(f"{self.system.name} {stage.name}: epoch {self.progress.epoch}, {best}")
            if self.progress.epoch < stage.epochs:
                bar.update(task, description=f"{self.system.name} {stage.name}, stopped early")
        put(self.module, self.best)
        if not last:
            self._write({"kind": "stage", "stage": stage.name, "test": self._evaluate(self.data.test)})
        self.best, self.optimizer_state = {}, {}
        self.progress = Standing(stage=self.progress.stage + 1)
        self._checkpoint(None)

    def _after_stages(self) -> Metrics:
        """What the log says of the test part after each stage but the last."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return {f"test after {line['stage']}": line["test"] for line in lines if line["kind"] == "stage"}

    def _batches(self, stage: Stage, epoch: int) -> list[np.ndarray]:
        """The epoch's batches, cut to a multiple of the ranks: every rank gets as many rows, up to ranks - 1 rows of a
        batch rest for the epoch, and the mean over ranks is the mean over the batch."""
        world = self.fabric.world_size
        parts = batches(stage.samples(self.data).cost(), stage.batch_size, self.options.seed, epoch)
        return [rows[: len(rows) // world * world] for rows in parts if len(rows) >= world]

    def _epoch(self, stage: Stage, objective: nn.Module, optimizer: Any) -> Iterator[float]:
        """The batches that are left of the epoch; yields each one's loss."""
        parts, samples = self._batches(stage, self.progress.epoch), stage.samples(self.data)
        objective.train()
        while self.progress.step < len(parts):
            epoch, step = self.progress.epoch, self.progress.step
            self._seed(epoch, step)
            rows = parts[step][self.fabric.global_rank :: self.fabric.world_size]
            share = (epoch + step / len(parts)) / stage.epochs
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate(stage, share)
            loss, scalars = objective(self.fabric.to_device(samples.batch(rows)), share)
            optimizer.zero_grad()
            self.fabric.backward(loss)
            self._clip(objective, optimizer, stage)
            optimizer.step()
            value = loss.item()
            self.progress = self.progress._replace(step=step + 1, loss_sum=self.progress.loss_sum + value)
            if (step + 1) % _LOG_EVERY == 0:
                logged = {name: float(scalar) for name, scalar in scalars.items()}
                self._write(
                    {"kind": "step", "stage": stage.name, "epoch": epoch, "step": step, "loss": value, **logged}
                )
            if (epoch * len(parts) + step + 1) % self.options.checkpoint_every == 0:
                self._checkpoint(optimizer)
            yield value

    def _clip(self, objective: nn.Module, optimizer: Any, stage: Stage) -> None:
        if self.tables:
            norm = clip([*self.module.parameters()], GRADIENT_NORM)
        else:
            norm = self.fabric.clip_gradients(objective, optimizer, max_norm=GRADIENT_NORM, error_if_nonfinite=False)
        if norm is None or not math.isfinite(norm):
            where = f"stage '{stage.name}', epoch {self.progress.epoch}, step {self.progress.step}"
            raise ValueError(f"training diverged: the gradient is not finite at {where}; lower learning_rate")

    def _validate(self, stage: Stage) -> None:
        progress = self.progress
        self._seed(progress.epoch, progress.step)
        measured = self._evaluate(self.data.validation)
        if stage.monitor not in measured:
            raise ValueError(
                f"stage '{stage.name}' stops by '{stage.monitor}', which the validation part of "
                f"{self.data.schema.dataset} does not give, only {', '.join(sorted(measured))} (AUC needs both classes)"
            )
        value = measured[stage.monitor] * (1 if stage.direction == "max" else -1)
        better = progress.best is None or value > progress.best
        if better:
            self.best = snapshot(self.module)
        train_loss = progress.loss_sum / max(1, progress.step)
        self._write(
            {"kind": "epoch", "stage": stage.name, "epoch": progress.epoch, "loss": train_loss, "validation": measured}
        )
        self.progress = progress._replace(
            epoch=progress.epoch + 1,
            step=0,
            loss_sum=0.0,
            best=value if better else progress.best,
            stale=0 if better else progress.stale + 1,
        )

    def _evaluate(self, split: Split) -> dict[str, float]:
        return self.system.measure(self.module, partial(predict, fabric=self.fabric), split)

    def _seed(self, epoch: int, step: int) -> None:
        key = [self.options.seed, self.progress.stage, epoch, step, self.fabric.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def _write(self, line: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            with self.log.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _checkpoint(self, optimizer: Any) -> None:
        if self.fabric.is_global_zero or self.tables:
            progress = self.progress._replace(log_bytes=self.log.stat().st_size)
            moments = optimizer.state_dict()["state"] if optimizer else {}
            self.checkpoints.save(TrainingState(progress, snapshot(self.module), self.best, moments))


def _note(loss: float | None, monitor: str, best: float | None) -> str:
    told = [] if loss is None else [f"loss {loss:.4f}"]
    return "  ".join(told if best is None else [*told, f"best {monitor} {abs(best):.4f}"])
