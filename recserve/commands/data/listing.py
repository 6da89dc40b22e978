"""`recserve data list`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from training.data.fetch import ORIGINS, default_cache
from training.data.folder.registry import registered
from training.datasets import DATASETS


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """List the data sets, built-in and own, and whether they are there."""

    cache: Path | None = None
    """Folder of the built-in data sets; $RECSERVE_CACHE/data or ~/.cache/recserve/data by default."""

    def run(self) -> int:
        root = self.cache or default_cache()
        entries = [
            {"name": name, "own": False, "what": _what(name, one.what), "folder": root / name}
            for name, one in ORIGINS.items()
        ]
        entries += [
            {"name": name, "own": False, "what": one.what, "folder": None}
            for name, one in DATASETS.items()
            if name not in ORIGINS
        ]
        entries += [
            {"name": name, "own": True, "what": "own tables", "folder": path} for name, path in registered().items()
        ]
        listed = [{**entry, "there": entry["folder"] is None or entry["folder"].is_dir()} for entry in entries]
        rows = [[one["name"], one["what"], _place(one)] for one in listed]
        show(self.console, table("data sets", ["name", "what", "folder"], rows))
        self.emit(listed)
        return 0


def _what(name: str, what: str) -> str:
    """Says it of what is fetched for another data set and cannot be trained on by itself."""
    return what if name in DATASETS else f"{what} (side table, no data set)"


def _place(entry: dict[str, Any]) -> str:
    if entry["folder"] is None:
        return "made when it is read"
    if entry["there"]:
        return str(entry["folder"])
    return f"{entry['folder']} is gone" if entry["own"] else "not fetched"
