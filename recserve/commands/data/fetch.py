"""`recserve data fetch`."""

import json
from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve.options import Positional
from training.data.fetch import Name, fetch


@dataclass(frozen=True, kw_only=True)
class Fetch(Command):
    """Fetch a data set into the cache, checked by sha256."""

    name: Positional[Name]
    """Data set to fetch."""
    cache: Path | None = None
    """Folder of the data sets; $RECSERVE_CACHE/data or ~/.cache/recserve/data by default."""

    def run(self) -> int:
        console = self.console
        folder = fetch(self.name, self.cache, lambda line: console.print(line, highlight=False))
        source = json.loads((folder / "SOURCE.json").read_text())
        console.print(f"[bold]{self.name}[/] is in {folder}, from {source['source']}", highlight=False)
        self.emit({"folder": folder, **source})
        return 0
