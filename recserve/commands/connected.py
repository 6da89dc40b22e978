"""What commands share that ask a server."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve_client import Tls
from recserve_client import headers as named


@dataclass(frozen=True, kw_only=True)
class Connected(Command):
    """A command that asks a server which somebody else started."""

    tls: Path | None = None
    """Folder with ca.crt, who vouches for the server, and with client.crt and client.key where it asks for them; plain
    text by default."""
    headers: Path | None = None
    """File of headers that go along with each request, name: value in each line: a token as authorization, a release of
    an edge as x-release; only its owner may read one with a token."""

    @property
    def security(self) -> Tls | None:
        """What its clients take. Raises ValueError for a folder that has none of the files."""
        return None if self.tls is None else Tls.folder(self.tls)

    @property
    def sent(self) -> dict[str, str]:
        """Headers that its clients send. Raises ValueError, naming the option, for a file that has others."""
        try:
            return {} if self.headers is None else named.read(self.headers)
        except ValueError as error:
            raise ValueError(f"--headers {error}") from error
