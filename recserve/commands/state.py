"""`recserve state build|show|drop`: prestored user states."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.progress import Progress

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from serving.direct import DirectModel
from serving.state import builder as state_builder
from serving.state.store import StateStore


@dataclass(frozen=True, kw_only=True)
class StateCommand(Command):
    """Where the states are."""

    repository: Path
    """The model repository whose encoder computes the states."""
    state: Path | None = None
    """Directory of the store; <repository>.state by default, as for `recserve serve`."""

    @property
    def store(self) -> Path:
        resolved = self.repository.resolve()
        return self.state or resolved.with_name(f"{resolved.name}.state")


@dataclass(frozen=True, kw_only=True)
class Build(StateCommand):
    """Compute the states of all users who lack one, with the repository's encoder in this process."""

    model: str | None = None
    """The user-state model, where the repository has several."""

    def run(self) -> int:
        source = state_builder.latest(self.repository, self.model)
        encoder = DirectModel.open(self.repository / source.spec.encoder)

        def encode(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return encoder.run([inputs])[0]

        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task("users")
            written = state_builder.build(
                self.repository,
                self.store,
                encode,
                lambda done, total: progress.update(task, completed=done, total=total),
                model=self.model,
            )
        self.console.print(f"{written} states written to {self.store}", highlight=False)
        self.emit({"written": written, "store": self.store})
        return 0


@dataclass(frozen=True, kw_only=True)
class Show(StateCommand):
    """Show what the store holds: of one user, or in all."""

    user: Positional[str | None] = None
    """User id, as a client sends it; without one, the number of users of each model is shown."""
    model: str | None = None
    """The user-state model, where the repository has several."""

    def run(self) -> int:
        return self._show_all() if self.user is None else self._show(self.user)

    def _show(self, user: str) -> int:
        shown = state_builder.show(self.repository, self.store, user, model=self.model)
        written = None if shown.time_ms is None else datetime.fromtimestamp(shown.time_ms / 1000, UTC).isoformat()
        arrays = shown.state or {}
        rows = [
            [name, f"{array.dtype} {list(array.shape)}", float(np.abs(array.astype(np.float64)).mean())]
            for name, array in arrays.items()
        ]
        self.console.print(f"user {user}: {shown.outcome}, written {written}", highlight=False)
        if rows:
            show(self.console, table("state", ["tensor", "type", "mean |x|"], rows))
        self.emit(
            {
                "user": shown.user,
                "outcome": shown.outcome,
                "written": written,
                "tensors": [row[:2] for row in rows],
            }
        )
        return 0

    def _show_all(self) -> int:
        with StateStore(self.store, readonly=True) as store:
            stat = store.stat()
        rows = [[model, version, count] for (model, version), count in stat.entries.items()]
        show(self.console, table(f"{stat.path}: {stat.file_bytes} bytes", ["model", "version", "users"], rows))
        self.emit({"path": stat.path, "bytes": stat.file_bytes, "entries": rows})
        return 0


@dataclass(frozen=True, kw_only=True)
class Drop(StateCommand):
    """Delete stored states; the server computes them again when they are asked for."""

    model: str | None = None
    """Model whose states are dropped; all by default."""
    version: int | None = None
    """Version whose states are dropped; all by default."""

    def run(self) -> int:
        with StateStore(self.store) as store:
            dropped = store.drop(self.model, self.version)
        self.console.print(f"{dropped} states dropped from {self.store}", highlight=False)
        self.emit({"dropped": dropped, "store": self.store})
        return 0
