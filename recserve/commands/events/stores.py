"""Which store of histories a command means."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve.named_stores import histories_of
from serving.histories.histories import Histories
from serving.histories.opening import open_histories
from serving.store_urls import named


@dataclass(frozen=True, kw_only=True)
class StoreCommand(Command):
    """A command that opens the store itself, whether or not a server runs."""

    repository: Path | None = None
    """Model repository beside which the histories lie, in <repository>.histories."""
    histories: str | None = None
    """URL of the store, lmdb:///directory or valkey://host:port/0, in place of the repository's own."""

    @property
    def url(self) -> str:
        if self.repository is None and not self.histories:
            raise ValueError("say which histories: --repository DIR, or --histories URL")
        return histories_of(self.repository or Path(), self.histories)

    @property
    def name(self) -> str:
        """The URL as it may be printed."""
        return named(self.url)

    def opened(self) -> Histories:
        return Histories(open_histories(self.url))
