"""`recserve data fetch`."""

import json
from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from training.data.fetch import ORIGINS, Name, default_cache, fetch


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
        console.print(f"licence: {source['licence']}", highlight=False)
        self.emit({"folder": folder, **source})
        return 0


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """List the data sets and whether they are in the cache."""

    cache: Path | None = None
    """Folder of the data sets; $RECSERVE_CACHE/data or ~/.cache/recserve/data by default."""

    def run(self) -> int:
        root = self.cache or default_cache()
        folders = {name: root / name for name in ORIGINS}
        rows = [
            [name, ORIGINS[name].what, folder if folder.is_dir() else "not fetched"] for name, folder in folders.items()
        ]
        show(self.console, table("data sets", ["name", "what", "folder"], rows))
        self.emit([{"name": name, "fetched": path.is_dir(), "folder": path} for name, path in folders.items()])
        return 0
