"""The tables of a folder, Parquet or CSV, with the columns that its schema names and no others."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from training.data.folder.description import EventsPart, SidePart
from training.data.folder.problems import Column, Problems, shown
from training.data.folder.published import FORMS, SESSIONS, Form
from training.data.folder.reading import UnreadableError, readable
from training.data.folder.section import near
from training.data.folder.sessions import ENDING

ENDINGS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz")
SEPARATORS = (",", ";", "\t", "|")


class Table(NamedTuple):
    """A table as it is in its file."""

    file: str
    frame: pl.DataFrame
    typed: bool
    """Parquet, or a form with types; in a CSV file everything is text."""
    problems: Problems

    def column(self, name: str) -> Column:
        """One of its columns."""
        return Column(self.file, name, self.frame[name], self.typed, self.problems)


def find(folder: Path, name: str, part: EventsPart | SidePart, problems: Problems) -> Path | None:
    """The file of a table; None, with the problem told, where there is none or more than one."""
    if part.file is not None:
        path = folder / part.file
        if not path.is_file():
            problems.error(part.file, f"is not in {folder}; [{name}] file names it")
        elif not part.file.endswith((*ENDINGS, ENDING) if name == "events" else ENDINGS):
            known = f"{', '.join(ENDINGS)}, and events in {ENDING}, as sessions"
            problems.error(part.file, f"is neither Parquet nor CSV by its name; it may end in {known}")
        else:
            return path
        return None
    found = [path for ending in ENDINGS if (path := folder / f"{name}{ending}").is_file()]
    if len(found) > 1:
        both = " and ".join(path.name for path in found)
        problems.error(found[0].name, f'{both} are both there; say which: file = "{found[0].name}" under [{name}]')
    if not found:
        ends = f"{name}{ENDINGS[0]} or {name}{ENDINGS[1]}"
        problems.error(name, f'{folder} has no {ends}; add it, or name it with file = "..." under [{name}]')
    return found[0] if len(found) == 1 else None


def separator_of(path: Path, part: EventsPart | SidePart | None) -> str:
    """Between the columns of a CSV file."""
    return (part and part.separator) or ("\t" if ".tsv" in path.suffixes else ",")


def read(path: Path, part: EventsPart | SidePart, wanted: Iterable[str], problems: Problems) -> Table | None:
    """The wanted columns of a table with at least one row; None, with the problems told, where that cannot be."""
    form, separator = _form(path, part), separator_of(path, part)
    typed = form.typed if form else path.suffix == ".parquet"
    columns = list(dict.fromkeys(wanted))
    try:
        with readable(path):
            there = list(form.columns) if form else _columns(path, separator)
            if not _has_all(path.name, there, columns, separator, problems):
                return None
            found = form.read(path, problems) if form else _read(path, separator, there, columns, problems)
            frame = None if found is None else found.select(columns)
    except UnreadableError as error:
        problems.error(path.name, error.what)
        return None
    if frame is not None and not len(frame):
        problems.error(path.name, "has no rows; fill it, or take its section out of schema.toml")
        return None
    if frame is None:
        return None
    # A column without any value has the type Null, and can be any field.
    strings = pl.col(pl.String, pl.Categorical, pl.Enum, pl.Null).cast(pl.String)
    return Table(path.name, frame.with_columns(strings.replace("", None)), typed, problems)


def _form(path: Path, part: EventsPart | SidePart) -> Form | None:
    """The form of a file that is no table as it stands."""
    if path.suffix == ENDING:
        return SESSIONS
    return FORMS[part.format] if isinstance(part, EventsPart) and part.format else None


def _columns(path: Path, separator: str) -> list[str]:
    return list(pl.read_parquet_schema(path)) if path.suffix == ".parquet" else header(path, separator)


def _read(path: Path, separator: str, there: list[str], columns: list[str], problems: Problems) -> pl.DataFrame | None:
    if path.suffix == ".parquet":
        return pl.read_parquet(path, columns=columns)
    return _read_csv(path, separator, there, columns, problems)


def header(path: Path, separator: str) -> list[str]:
    """Names of the columns of a CSV file."""
    return pl.read_csv(path, separator=separator, n_rows=0, infer_schema=False).columns


def _has_all(file: str, there: list[str], columns: list[str], separator: str, problems: Problems) -> bool:
    if len(there) == 1 and there[0] not in columns:
        if others := [one for one in SEPARATORS if one != separator and one in there[0]]:
            problems.error(
                file, f"is separated by {shown(others[0])}, not by {shown(separator)}; set separator in schema.toml"
            )
            return False
    good = True
    for column in columns:
        if column not in there:
            problems.error(file, f"is not there, but schema.toml names it; {near(column, there)}", column)
            good = False
        if f"{column}_duplicated_0" in there:
            problems.error(file, "is there twice; rename one of them", column)
            good = False
    return good


def _read_csv(
    path: Path, separator: str, there: list[str], columns: list[str], problems: Problems
) -> pl.DataFrame | None:
    """None, with the row named, where a row has another number of fields than the header."""
    last = there[-1]
    try:
        frame = pl.read_csv(
            path, separator=separator, columns=list(dict.fromkeys([*columns, last])), infer_schema=False
        )
    except PolarsError:
        if _tell_uneven(path, separator, len(there), problems):
            return None
        raise
    # Polars fills a row that is too short; the last column is then empty.
    if frame[last].has_nulls() and _tell_uneven(path, separator, len(there), problems):
        return None
    return frame.select(columns)


def _tell_uneven(path: Path, separator: str, fields: int, problems: Problems) -> bool:
    """Names the first row with another number of fields than the header has, among those without quotes."""
    lines = pl.read_csv(
        path, separator="\x1e", has_header=False, skip_rows=1, quote_char=None, infer_schema=False, new_columns=["line"]
    )["line"].fill_null("")
    counts = lines.str.count_matches(separator, literal=True) + 1
    uneven = (counts != fields) & ~lines.str.contains('"', literal=True)
    if not uneven.any():
        return False
    place = int(uneven.arg_max() or 0)
    line = lines[place]
    others = [one for one in SEPARATORS if one != separator and line.count(one) + 1 == fields and fields > 1]
    remedy = f"it is separated by {shown(others[0])}, the header by {shown(separator)}" if others else "mend the row"
    found = re.sub(r"\s+", " ", line)
    what = f"has {counts[place]} of the header's {fields} fields ({shown(found)})" if line else "is an empty line"
    problems.error(path.name, f"{what}; {remedy if line else 'take it out'}", row=place + 1)
    return True
