"""What commands share that ask a server."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve_client import Tls


@dataclass(frozen=True, kw_only=True)
class Connected(Command):
    """A command that asks a server which somebody else started."""

    tls: Path | None = None
    """Folder with ca.crt, who vouches for the server, and with client.crt and client.key where it asks for them; plain
    text by default."""

    @property
    def security(self) -> Tls | None:
        """What its clients take. Raises ValueError for a folder that has none of the files."""
        return None if self.tls is None else Tls.folder(self.tls)
