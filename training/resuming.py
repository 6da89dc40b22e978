"""What a run that was stopped goes on from.

    resume.safetensors                       weights, the stage's best, moments, progress
    resume-<stage>-<epoch>-<step>-<rank>.safetensors    where tables are spread: the rows of each process but the first

Files of rows are written before the one that names their step, and removed after the next one that does.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import safetensors

from training.checkpoint import RESUME, Weights, write_tensors
from training.layers.row_wise import is_spread, local

if TYPE_CHECKING:
    # See training/loop.py.
    from lightning_fabric import Fabric

OptimizerState = dict[int, Weights]
"""Number of the parameter -> name -> value, as in `state_dict()["state"]`."""


class Progress(NamedTuple):
    """Where training stands; every number is needed to go on as if nothing had happened."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    """Batches of the epoch that are done."""
    loss_sum: float = 0.0
    """Over those batches."""
    best: float | None = None
    """The monitored metric, larger is better."""
    stale: int = 0
    """Epochs since the best."""
    log_bytes: int = 0
    """Length of metrics.jsonl."""


class TrainingState(NamedTuple):
    """All that resuming needs. Random numbers are not part of it: each step seeds its own."""

    progress: Progress
    weights: Weights
    best: Weights
    """Weights at the best epoch of the stage; empty before the first validation."""
    optimizer: OptimizerState


class Checkpoints:
    """Those of one run, as one process sees them."""

    def __init__(self, folder: Path, fabric: "Fabric", tables: Sequence[str]) -> None:
        """`tables` are the parameters whose rows are spread."""
        self.folder, self.fabric, self.tables = folder, fabric, frozenset(tables)

    def save(self, state: TrainingState) -> None:
        """All processes must call it. Each file is whole or not there, so that a crash cannot leave weights of one step
        beside the progress of another."""
        if self.tables:
            rows = self._rows(state)
            if rows:
                write_tensors(self._of_rows(state.progress), rows)
            self.fabric.barrier()
        if self.fabric.is_global_zero:
            said = {"processes": str(self.fabric.world_size)} if self.tables else {}
            progress = json.dumps(state.progress._asdict())
            write_tensors(self.folder / RESUME, _named(state), {"progress": progress, **said})
        if self.tables:
            self.fabric.barrier()
            for path in self.folder.glob(f"resume-*-{self.fabric.global_rank}.safetensors"):
                if path != self._of_rows(state.progress):
                    path.unlink()

    def load(self) -> TrainingState | None:
        """The last checkpoint; None where the run had not come to one. Raises ValueError where tables were spread
        otherwise."""
        path = self.folder / RESUME
        if not path.is_file():
            return None
        with safetensors.safe_open(path, "pt") as file:
            said = file.metadata()
            self._check(said.get("processes"))
            progress = Progress(**json.loads(said["progress"]))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if self.tables and self.fabric.global_rank > 0:
            with safetensors.safe_open(self._of_rows(progress), "pt") as file:
                tensors |= {key: file.get_tensor(key) for key in file.keys()}
        return _state(progress, tensors)

    def _check(self, processes: str | None) -> None:
        now = str(self.fabric.world_size) if self.tables else None
        if processes != now:
            then = f"with --tables row-wise by {processes} processes" if processes else "without --tables row-wise"
            raise ValueError(f"cannot resume {self.folder}: it was started {then}; resume it so, or use --overwrite")

    def _rows(self, state: TrainingState) -> Weights:
        """What the first process does not have."""
        if self.fabric.is_global_zero:
            return {}
        kept = state._replace(
            weights={name: value for name, value in state.weights.items() if name in self.tables},
            best={name: value for name, value in state.best.items() if name in self.tables},
            optimizer={
                number: values
                for number, values in state.optimizer.items()
                if any(is_spread(value) for value in values.values())
            },
        )
        return _named(kept)

    def _of_rows(self, progress: Progress) -> Path:
        name = f"resume-{progress.stage}-{progress.epoch}-{progress.step}-{self.fabric.global_rank}.safetensors"
        return self.folder / name


def _named(state: TrainingState) -> Weights:
    tensors = {f"weights/{name}": value for name, value in state.weights.items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for number, values in state.optimizer.items():
        tensors |= {f"optimizer/{number}/{name}": local(value).cpu().contiguous() for name, value in values.items()}
    return tensors


def _state(progress: Progress, tensors: Weights) -> TrainingState:
    groups: dict[str, Weights] = {"weights": {}, "best": {}, "optimizer": {}}
    for key, value in tensors.items():
        group, name = key.split("/", 1)
        groups[group][name] = value
    optimizer: OptimizerState = {}
    for key, value in groups["optimizer"].items():
        number, name = key.split("/", 1)
        optimizer.setdefault(int(number), {})[name] = value
    return TrainingState(progress, groups["weights"], groups["best"], optimizer)
