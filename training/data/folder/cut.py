"""The tables of a folder as they were before a day, cut before any id or code is made of them.

Tables of users and items have no dates: a row whose id events name, but none before the day, came later and goes; one
that no event names stays. What is left is told as `<file> before <day>`, so that numbers of rows are of that.
"""

import polars as pl

from training.data.folder.files import Table
from training.data.folder.problems import SCHEMA_FILE, Column
from training.data.folder.times import second_of, ticks, times


def is_earlier(events: Table, time: str | None, day: str) -> pl.Series | None:
    """bool for each event: whether it lies before the day; None, with the problem told, where times cannot be read or
    no event does. Raises ValueError for what is no day."""
    second = second_of(day)
    if time is None:
        events.problems.error(
            SCHEMA_FILE, f'[events] names no time to cut at {day}; add time = "...", or leave --until out'
        )
        return None
    found = times(events.column(time))
    if found is None:
        return None
    earlier = found < second * ticks(found)
    if not earlier.any():
        events.problems.error(events.file, f"has no event before {day}; name a later day", time)
        return None
    return earlier


def cut(table: Table, kept: pl.Series, day: str) -> Table:
    """The rows of a mask."""
    return table._replace(file=f"{table.file} before {day}", frame=table.frame.filter(kept))


def is_known(side: Column, events: Column, earlier: pl.Series) -> pl.Series:
    """bool for each row of users or items: whether its id is in an earlier event, or in none."""
    if any(column.values.dtype.is_nested() for column in (side, events)):
        return pl.repeat(True, len(side.values), eager=True)  # no ids, as `mapped` then tells
    ids, of_side = (column.values.cast(pl.String) for column in (events, side))
    known, later = ids.filter(earlier).unique(), ids.filter(~earlier).unique()
    return (~of_side.is_in(later.implode()) | of_side.is_in(known.implode())).fill_null(True)
