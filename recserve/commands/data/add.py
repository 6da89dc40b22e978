"""`recserve data add`."""

from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from recserve.commands.command import Command
from recserve.commands.data.findings import as_json, refuse_built_in, show_findings
from recserve.options import Positional
from training.data.folder import folder
from training.data.folder.build import inspect
from training.data.folder.registry import is_there, register
from training.interactions import silent


@dataclass(frozen=True, kw_only=True)
class Add(Command):
    """Check a folder of own tables and add it as a data set under the name that its schema.toml has."""

    folder: Positional[Path]
    """Folder with schema.toml and the tables; it stays where it is."""
    replace: bool = False
    """Replacement of another folder that was added under the same name."""

    def run(self) -> int:
        name = folder(self.folder).name
        refuse_built_in(name, self.folder)
        again = not self.replace and is_there(name, self.folder)
        found = inspect(self.folder, None, silent)
        show_findings(self.console, found)
        self.emit(as_json(found))
        if found.problems.errors:
            self.console.print(f"[red]{escape(name)} was not added[/]", highlight=False)
            return 1
        register(name, self.folder, replace=self.replace)
        what = "was added before, and still is" if again else "is added"
        line = f"[bold]{escape(name)}[/] {what}; commands take --dataset {escape(name)}"
        self.console.print(line, highlight=False)
        return 0
