"""What is wrong with a folder of tables: one line for each thing, with table, column, row, value and remedy."""

from typing import NamedTuple

import polars as pl

_SHOWN = 60
"""Characters of a value, after which it is cut."""
SCHEMA_FILE = "schema.toml"


class Problem(NamedTuple):
    """One line."""

    table: str
    """File name."""
    column: str | None
    row: int | None
    """From 1; the header of a CSV file does not count."""
    what: str
    """What is wrong; what to do."""
    warning: bool
    """Whether the folder can be used all the same."""

    def __str__(self) -> str:
        column = f", column '{self.column}'" if self.column else ""
        row = f", row {self.row}" if self.row else ""
        return f"{self.table}{column}{row}: {self.what}"


class Problems:
    """All that was found in a folder, in order."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def error(self, table: str, what: str, column: str | None = None, row: int | None = None) -> None:
        """Something for which the folder cannot be used."""
        self.found.append(Problem(table, column, row, what, warning=False))

    def warn(self, table: str, what: str, column: str | None = None, row: int | None = None) -> None:
        """Something that a person should know."""
        self.found.append(Problem(table, column, row, what, warning=True))

    @property
    def errors(self) -> list[Problem]:
        """Those that are no warnings."""
        return [one for one in self.found if not one.warning]

    @property
    def warnings(self) -> list[Problem]:
        """Those for which nothing has to be done."""
        return [one for one in self.found if one.warning]

    def stop(self) -> None:
        """Raises ValueError with the first error, where there is one."""
        if errors := self.errors:
            more = f" (and {len(errors) - 1} more; `recserve data check` lists them)" if len(errors) > 1 else ""
            raise ValueError(f"{errors[0]}{more}")


class Column(NamedTuple):
    """A column as it is in its file."""

    table: str
    """File name."""
    name: str
    values: pl.Series
    typed: bool
    """Parquet; in a CSV file everything is text."""
    problems: Problems
    rows: pl.Series | None = None
    """Row of each value, from 1, where they are those of several rows of lists."""
    private: bool = False
    """Whether they are ids of people, which stand in no line: the row says which one it is."""

    def error(self, what: str, row: int | None = None) -> None:
        """Something for which the folder cannot be used."""
        self.problems.error(self.table, what, self.name, row)

    def warn(self, what: str, row: int | None = None) -> None:
        """Something that a person should know."""
        self.problems.warn(self.table, what, self.name, row)

    def refuse(self, bad: pl.Series, what: str, remedy: str) -> bool:
        """Names the first row of a mask (bool, null is false), its value and how many there are; whether any is bad.

        `what` says what is wrong with {value}.
        """
        number = int(bad.sum())
        if not number:
            return False
        place = int(bad.arg_max() or 0)
        others = f" ({number} such {'rows' if self.rows is None else 'values'})" if number > 1 else ""
        self.error(f"{what.format(value=self.told(self.values[place]))}{others}; {remedy}", self.row(place))
        return True

    def told(self, value: object) -> str:
        """One of its values as it can stand in a line."""
        return "an id" if self.private else shown(value)

    def row(self, place: int) -> int:
        """Row of a value, from 1."""
        return place + 1 if self.rows is None else int(self.rows[place])


def shown(value: object) -> str:
    """A value as it can stand in a line."""
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
