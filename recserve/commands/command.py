"""What all commands share: where they print, and machine-readable output."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

OUTPUT = Path("runs/bench")
"""Folder of results of load runs; those that are published are copied into the checkout by hand."""
_CELL = 72
"""Characters after which a cell goes on in the next line."""
_WIDEST = 1000


@dataclass(frozen=True, kw_only=True)
class Command:
    """Arguments of a command."""

    json: bool = False
    """One JSON value on standard output, and text for people on standard error."""

    def run(self) -> int:
        """Does the work; 0 for success, 1 for a check that found something."""
        raise NotImplementedError

    @property
    def console(self) -> Console:
        """For people: standard output, or standard error where standard output carries JSON."""
        return Console(stderr=self.json)

    def emit(self, value: Any) -> None:
        """The JSON value, where it was asked for."""
        if self.json:
            json.dump(value, sys.stdout, indent=2, default=_plain)
            sys.stdout.write("\n")
            # A program may wait for the value of a command that goes on, as serve does.
            sys.stdout.flush()


def show(console: Console, drawn: Table) -> None:
    """Prints a table as wide as it needs to be: a narrow terminal wraps lines, a pipe gets them whole."""
    natural = Measurement.get(console, console.options.update(width=_WIDEST), drawn).maximum
    console.width = max(console.width, natural)
    console.print(drawn)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose numbers stand to the right."""
    drawn = Table(title=title, title_justify="left", title_style="bold")
    cells = [[_cell(value) for value in row] for row in rows]
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(_is_number(row[number]) for row in cells)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold", max_width=_CELL)
    for row in cells:
        drawn.add_row(*map(escape, row))
    return drawn


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).replace("+", "", 1).replace("e", "", 1).isdigit() or text == ""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    as_list = getattr(value, "tolist", None)  # of arrays, which this module need not import
    return as_list() if as_list else str(value)
