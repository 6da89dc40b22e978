"""Raw ids of users and items: any int64 or text, checked, and mapped to dense ids 1 to N by ascending raw id.

In CSV files everything is text: the ids of a role are numbers where all of them, in all tables, are whole numbers as
they are printed (no leading zeros or plus), as they would be in Parquet, and text otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from serving.ids import IdMap
from training.data.folder.problems import Column, Problems, shown
from training.data.ids import id_map

LONGEST_BYTES = 1024
"""Of one id, or of one value of an id field."""
WHOLE = r"^(0|-?[1-9][0-9]{0,18})$"
_FLOAT = r"^-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$"


class Mapped(NamedTuple):
    """The ids of a role."""

    columns: list[pl.Series]
    """int64 dense ids of each of the columns, in their order."""
    ids: IdMap


def mapped(columns: Sequence[Column]) -> Mapped | None:
    """Dense ids of columns that hold ids of one role; None, with the problems told, where they are no ids."""
    if not all([_is_sound(column) for column in columns]):
        return None
    raw = _of_one_type(columns)
    if raw is None:
        return None
    known = pl.concat([values.unique() for values in raw]).unique().sort()
    _warn_of_near(columns[0], known)
    table = pl.DataFrame({"raw": known, "dense": pl.arange(1, len(known) + 1, eager=True)})
    return Mapped([_looked_up(values, table) for values in raw], id_map(known.alias(columns[0].name)))


def _looked_up(values: pl.Series, table: pl.DataFrame) -> pl.Series:
    return pl.DataFrame({"raw": values}).join(table, on="raw", how="left", maintain_order="left")["dense"]


def _is_sound(column: Column) -> bool:
    """Whether it has an id in each row, none of which went through a float."""
    values = column.values
    if column.refuse(values.is_null(), "has no id", "give each row one, or leave the row out"):
        return False
    if values.dtype.is_float():
        column.error(f"holds {values.dtype}, and ids that went through a float are other ids; write int64 or text", 1)
        return False
    if values.dtype == pl.String:
        return _is_text(column)
    if not values.dtype.is_integer():
        column.error(f"holds {values.dtype}; ids are int64 or text: cast it", 1)
        return False
    beyond = values.cast(pl.Int64, strict=False).is_null()
    return not column.refuse(beyond, "is {value}, beyond int64", "write the ids as text")


def _is_text(column: Column) -> bool:
    values = column.values
    if not column.typed and not values.str.contains(WHOLE).all() and values.str.contains(_FLOAT).all():
        bad = values.str.contains("[.eE]")
        remedy = "ids that went through a float are other ids; write them as whole numbers"
        if column.refuse(bad, "is {value}", remedy):
            return False
    too_long = values.str.len_bytes() > LONGEST_BYTES
    if column.refuse(too_long, "has more than 1,024 bytes ({value})", "use shorter ids, a hash for one"):
        return False
    return not column.refuse(values.str.contains("\0", literal=True), "is {value}, with a NUL character", "take it out")


def _of_one_type(columns: Sequence[Column]) -> list[pl.Series] | None:
    """All as int64, or all as text; None, with the problem told, where tables disagree."""
    numbers = [_as_numbers(column) for column in columns]
    if all(one is not None for one in numbers):
        return [one for one in numbers if one is not None]
    text = [column for column, one in zip(columns, numbers, strict=True) if one is None]
    whole = [column for column in columns if column.values.dtype.is_integer()]
    if whole and text:
        first, other = whole[0], text[0]
        # Text of Parquet is text, whatever it looks like.
        alike = other.values.str.contains(WHOLE) & other.values.cast(pl.Int64, strict=False).is_not_null()
        bad = alike.is_null() | other.typed | ~alike
        other.refuse(bad, "is the text {value}", f"{first.table} has whole numbers in '{first.name}': write one type")
        return None
    return [column.values for column in columns]


def _as_numbers(column: Column) -> pl.Series | None:
    """int64; None for text."""
    values = column.values
    if values.dtype.is_integer():
        return values.cast(pl.Int64)
    if column.typed or not values.str.contains(WHOLE).all():
        return None
    cast = values.cast(pl.Int64, strict=False)
    return None if cast.has_nulls() else cast


def _warn_of_near(column: Column, known: pl.Series) -> None:
    """Ids that differ only in case or in spaces around them are mostly one and the same."""
    if known.dtype != pl.String:
        return
    table = pl.DataFrame({"raw": known, "plain": known.str.strip_chars().str.to_lowercase()})
    near = table.filter(pl.col("plain").is_duplicated())
    if not len(near):
        return
    groups = near["plain"].n_unique()
    first, second, *_ = near.filter(pl.col("plain") == near["plain"][0])["raw"]
    example = "" if column.private else f" ({shown(first)}, {shown(second)})"
    column.warn(
        f"{groups} ids are there in forms that differ only by case or spaces{example}; "
        "each form is an id of its own: unify them if they are one"
    )


def warn_of_missing(column: Column, ids: pl.Series, side: Column, of_side: pl.Series, problems: Problems) -> None:
    """Ids of events that the table of items, or users, does not have."""
    absent = ~ids.is_in(of_side.implode())
    number = int(absent.sum())
    if number:
        place = int(absent.arg_max() or 0)
        distinct = ids.filter(absent).n_unique()
        problems.warn(
            column.table,
            f"{column.told(column.values[place])} is not in {side.table}: {distinct:,} such ids, with {number:,} "
            "events, whose fields are unknown",
            column.name,
            place + 1,
        )
