"""`recserve data check`."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve.commands.data.findings import as_json, show_findings
from recserve.options import Positional
from training.data.folder.build import inspect
from training.interactions import silent


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """Check a folder of own tables: all that is wrong, and what each task can do with it. 1 where there are errors."""

    folder: Positional[Path]
    """Folder with schema.toml and the tables."""

    def run(self) -> int:
        found = inspect(self.folder, None, silent)
        show_findings(self.console, found)
        self.emit(as_json(found))
        return 1 if found.problems.errors else 0
