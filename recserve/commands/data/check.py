"""`recserve data check`."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve.commands.data.findings import as_json, refuse_built_in, show_findings
from recserve.options import Positional
from training.data.folder.build import inspect
from training.data.folder.problems import SCHEMA_FILE, Problems
from training.data.folder.registry import is_there
from training.datasets import DATASETS
from training.interactions import silent


@dataclass(frozen=True, kw_only=True)
class Check(Command):
    """Check a folder of own tables: all that is wrong, and what each task can do with it. 1 where there are errors."""

    folder: Positional[Path]
    """Folder with schema.toml and the tables."""

    def run(self) -> int:
        name = str(self.folder)
        if name in DATASETS and not self.folder.exists():
            raise ValueError(
                f"'{name}' is a built-in data set: it comes with recserve, in the form that tasks take, and has no "
                f"folder of tables to check; `recserve data describe {name}` shows it"
            )
        found = inspect(self.folder, None, silent)
        if found.interactions:
            self._check_name(found.interactions.name, found.problems)
        show_findings(self.console, found)
        self.emit(as_json(found))
        return 1 if found.problems.errors else 0

    def _check_name(self, name: str, problems: Problems) -> None:
        """What `recserve data add` would say of the name: one that comes with recserve is an error, one that another
        folder has a warning, as --replace takes it."""
        try:
            refuse_built_in(name, self.folder)
        except ValueError as error:
            problems.error(SCHEMA_FILE, str(error))
        try:
            is_there(name, self.folder)
        except ValueError as error:
            problems.warn(SCHEMA_FILE, str(error))
