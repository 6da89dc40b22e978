"""CSV files that others publish, as text."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from training.data.folder.problems import Problems


def texts(path: Path, needed: Iterable[str], problems: Problems) -> pl.DataFrame | None:
    """All columns as text, with `row` from 1; None, with the problem told, where a needed one is not there."""
    frame = pl.read_csv(path, infer_schema=False)
    for column in needed:
        if column not in frame.columns:
            there = ", ".join(frame.columns)
            problems.error(path.name, f"is not there; it has {there}: take format out, or name another file", column)
            return None
    return frame.with_columns(pl.all().str.strip_chars()).with_row_index("row", offset=1)


def with_header(folder: Path, needed: Iterable[str]) -> list[str]:
    """Names of the CSV files of a folder that have these columns, by name."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        try:
            there = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        except PolarsError:
            continue
        if {*needed} <= {*there}:
            found.append(path.name)
    return found


def refuse(file: str, frame: pl.DataFrame, bad: pl.Expr, column: str, what: str, problems: Problems) -> bool:
    """Names the row of the first that is bad, by the frame's `row`; whether there is any. `what` says what is wrong and
    what to do, with the value as {value}."""
    rows = frame.filter(bad)
    if not len(rows):
        return False
    others = f" ({len(rows):,} such values)" if len(rows) > 1 else ""
    wrong, remedy = what.split("; ")
    value = repr(rows[column][0])
    problems.error(file, f"{wrong.format(value=value)}{others}; {remedy}", column, row=rows["row"][0])
    return True
