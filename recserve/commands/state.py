"""`recserve state build|show|drop`: prestored user states."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.progress import Progress

from recserve.commands.command import Command, show, table
from recserve.named_stores import histories_of, state_of
from recserve.options import Positional
from serving.direct import DirectModel
from serving.state import builder as state_builder
from serving.state import open_store
from serving.store_urls import named


@dataclass(frozen=True, kw_only=True)
class StateCommand(Command):
    """Where the states are."""

    repository: Path
    """The model repository whose encoder computes the states."""
    state: str | None = None
    """Directory or URL of the store; <repository>.state by default, as for `recserve serve`."""
    histories: str | None = None
    """URL of the store of users' histories; <repository>.histories by default, as for `recserve serve`."""

    def __post_init__(self) -> None:
        state_of(self.repository, self.state)
        histories_of(self.repository, self.histories)

    @property
    def store(self) -> str:
        return state_of(self.repository, self.state)


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
            built = state_builder.build(
                self.repository,
                self.store,
                encode,
                lambda done, total: progress.update(task, completed=done, total=total),
                model=self.model,
                histories=self.histories,
            )
        of = ", ".join(f"{number} {name}" for name, number in sorted(built.histories.items()))
        said = f"{built.written} states written to {named(self.store)}{f'; histories: {of}' if of else ''}"
        self.console.print(said, highlight=False)
        self.emit({"written": built.written, "store": named(self.store), "histories": built.histories})
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
        shown = state_builder.show(self.repository, self.store, user, model=self.model, histories=self.histories)
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
        with closing(open_store(self.store, readonly=True)) as store:
            stat = store.stat()
        rows = [
            [model, stamp, self._versions(model, stamp), count]
            for (model, stamp), count in sorted(stat.entries.items())
        ]
        shown = [[model, stamp, ", ".join(map(str, found)) or "none", count] for model, stamp, found, count in rows]
        show(
            self.console, table(f"{stat.url}: {stat.used_bytes} bytes", ["model", "stamp", "versions", "users"], shown)
        )
        self.emit({"url": stat.url, "bytes": stat.used_bytes, "entries": rows})
        return 0

    def _versions(self, model: str, stamp: int) -> list[int]:
        """Those of the repository that have these weights."""
        return [version for version, own in state_builder.stamps(self.repository / model).items() if own == stamp]


@dataclass(frozen=True, kw_only=True)
class Drop(StateCommand):
    """Delete stored states; the server computes them again when they are asked for."""

    model: str | None = None
    """Model whose states are dropped; all by default."""
    version: int | None = None
    """Version whose states are dropped, with those of all versions of the same weights; all by default."""

    def run(self) -> int:
        stamp = None if self.version is None else self._stamp(self.version)
        with closing(open_store(self.store)) as store:
            dropped = store.drop(self.model, stamp)
        self.console.print(f"{dropped} states dropped from {named(self.store)}", highlight=False)
        self.emit({"dropped": dropped, "store": named(self.store)})
        return 0

    def _stamp(self, version: int) -> int:
        if self.model is None:
            raise ValueError(f"version {version} of which model? Name it with --model")
        found = state_builder.stamps(self.repository / self.model)
        if version not in found:
            have = ", ".join(map(str, found)) or "none"
            raise ValueError(
                f"{self.repository} has no version {version} of {self.model} with user states; it has {have}"
            )
        return found[version]
