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
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

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
    """Prints a table whose lines a pipe gets whole; a terminal that is narrower gets it without columns that are empty
    in all rows, its cells folded, or row by row where not even words would stay whole."""
    if not console.is_terminal:
        console.width = max(console.width, _measured(console, drawn).maximum, len(str(drawn.title)))
        show_titled(console, drawn)
        return
    if _measured(console, drawn).maximum > console.width:
        drawn = _without_empty_columns(drawn)
    show_titled(console, drawn if _measured(console, drawn).minimum <= console.width else _by_row(drawn))


def show_titled(console: Console, drawn: Table) -> None:
    """Prints a table as wide as the console, and its title as a line above, which may be wider than the table."""
    title, drawn.title = drawn.title, None
    if title:
        console.print(Text(str(title), style="bold"))
    console.print(drawn)


def _measured(console: Console, drawn: Table) -> Measurement:
    """Widths, of the longest words and of the longest cells."""
    return Measurement.get(console, console.options.update(width=_WIDEST), drawn)


def _without_empty_columns(drawn: Table) -> Table:
    rows = [*zip(*(column.cells for column in drawn.columns), strict=True)]
    kept = [number for number in range(len(drawn.columns)) if any(row[number] for row in rows)]
    narrower = Table(title=drawn.title)
    for number in kept:
        column = drawn.columns[number]
        narrower.add_column(column.header, justify=column.justify, overflow=column.overflow, max_width=column.max_width)
    for row in rows:
        narrower.add_row(*(row[number] for number in kept))
    return narrower


def _by_row(drawn: Table) -> Table:
    """Each row as lines of column and cell, below its first cell."""
    heads = [column.header for column in drawn.columns]
    lines = Table.grid(padding=(0, 1))
    lines.title = drawn.title
    for first, *others in zip(*(column.cells for column in drawn.columns), strict=True):
        lines.add_row(heads[0], first, style="bold")
        for head, cell in zip(heads[1:], others, strict=True):
            if cell:
                lines.add_row(Padding(head, (0, 0, 0, 2)), cell)
    return lines


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose numbers stand to the right."""
    drawn = Table(title=title)
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
