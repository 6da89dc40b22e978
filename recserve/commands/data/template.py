"""`recserve data template`."""

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from recserve.commands.command import Command
from recserve.options import Positional
from training.data.folder.problems import SCHEMA_FILE
from training.data.folder.template import EXAMPLE, propose


@dataclass(frozen=True, kw_only=True)
class Template(Command):
    """Write a commented schema.toml: an example to standard output, or a proposal into a folder of tables."""

    folder: Positional[Path | None] = None
    """Folder with tables that have no schema.toml yet; an example is printed where none is named."""

    def run(self) -> int:
        if self.folder is None:
            if not self.json:
                sys.stdout.write(EXAMPLE)
            self.emit({"schema": EXAMPLE})
            return 0
        path = self.folder / SCHEMA_FILE
        if path.exists():
            raise ValueError(f"{path} is there already; remove it, or mend it by hand")
        text = propose(self.folder)
        path.write_text(text, encoding="utf-8")
        self.console.print(escape(text), highlight=False, soft_wrap=True)
        line = f"[bold]{path}[/] is a guess: read it, mend it, then recserve data check {self.folder}"
        self.console.print(line, highlight=False, soft_wrap=True)
        self.emit({"file": path, "schema": text})
        return 0
