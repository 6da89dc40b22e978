"""`recserve releases prune`."""

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from export.prune import Version, prunable, remove, size, sweep
from recserve.commands.connected import Connected
from recserve.named_stores import state_of
from recserve_client import Client
from recserve_client.errors import ModelUnavailable, ServerUnavailable, TlsMismatch
from serving import releases
from serving.state import directory_of, open_store
from serving.state.builder import models_with_states, stamps
from serving.versions import versions

_DEADLINE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Prune(Connected):
    """Remove old releases and their user states; nothing else ever deletes one."""

    repository: Path
    """The model repository."""
    keep: int = 3
    """Number of the newest releases of each name that stay, beside the one that is served, the one before, and what a
    running server has loaded."""
    dry_run: bool = False
    """Names and sizes of what would go, and nothing removed."""
    state: str | None = None
    """Directory or URL of the store of user states; <repository>.state by default, as for `recserve serve`."""
    url: str = "127.0.0.1:8001"
    """Address of the gRPC port of the server of the repository, if one runs."""

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"--keep is {self.keep}; at least 1 release of each name stays")
        state_of(self.repository, self.state)

    def run(self) -> int:
        if not self.repository.is_dir():
            raise ValueError(f"{self.repository} is no directory; name a model repository")
        before, states = {model: self._stamps(model) for model in models_with_states(self.repository)}, 0
        with releases.still(self.repository):
            old = prunable(self.repository, self.keep, self._loaded())
            sizes = [size(self.repository, one) for one in old]
            if not self.dry_run:
                sweep(self.repository)
                for one in old:
                    remove(self.repository, one)
        if not self.dry_run:
            states = self._drop(
                [(model, stamp) for model, had in before.items() for stamp in had - self._stamps(model)]
            )
        for one, held in zip(old, sizes, strict=True):
            self._say(f"{one.model} {one.number}: {held / 2**20:.1f} MiB")
        what = "would be freed" if self.dry_run else f"freed, and {states} user states"
        self._say(f"{len(old)} versions, {sum(sizes) / 2**20:.1f} MiB {what}")
        versions_of = [{"model": one.model, "version": one.number} for one in old]
        self.emit({"removed": versions_of, "bytes": sum(sizes), "states": states, "dry_run": self.dry_run})
        return 0

    def _loaded(self) -> list[Version]:
        """What the server has of the repository's models; nothing where none runs. Raises TlsMismatch where one runs
        that cannot be asked so."""
        found: list[Version] = []
        with Client(self.url, deadline_s=_DEADLINE_S, headers=self.sent, tls=self.security) as client:
            try:
                for model in sorted(path.name for path in self.repository.iterdir() if versions(path)):
                    with suppress(ModelUnavailable):
                        found += [Version(model, int(number)) for number in client.metadata(model).versions]
            except TlsMismatch:
                raise
            except ServerUnavailable:
                pass
        return found

    def _stamps(self, model: str) -> set[int]:
        """Of all versions of a model; versions of the same weights share theirs, and their states."""
        return {*stamps(self.repository / model).values()}

    def _drop(self, gone: list[tuple[str, int]]) -> int:
        """Deletes the states of these models and stamps; returns how many there were."""
        url = state_of(self.repository, self.state)
        folder = directory_of(url)
        if not gone or (folder is not None and not folder.is_dir()):
            return 0
        with closing(open_store(url)) as store:
            return sum(store.drop(model, stamp) for model, stamp in gone)

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
