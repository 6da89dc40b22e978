"""Categories, and lists of them, as ids by the alphabet, or ascending where all are whole numbers; 0 is unknown."""

from typing import NamedTuple

import polars as pl

from training.data.folder.dense import whole
from training.data.folder.description import FieldPart
from training.data.folder.problems import Column
from training.data.folder.raw_ids import LONGEST_BYTES
from training.schema import UNKNOWN

MOST_VALUES = 131_072
"""Of one field; their names stand in the schema of every run."""
_WHOLE = r"^(0|-?[1-9][0-9]{0,17})(\.0+)?$"


class Encoded(NamedTuple):
    """A field as ids."""

    ids: pl.Series
    """int64, or list[int64] without 0."""
    names: tuple[str, ...]
    """By id."""
    width: int | None = None
    """Most values of one row."""


def category(column: Column) -> Encoded | None:
    """A field of kind id; None, with the problem told, where its values are none."""
    values = _as_values(column)
    if values is None or not _is_short(column, values):
        return None
    known = _known(column, values)
    return None if known is None else Encoded(_looked_up(values, known), _names(known))


def several(column: Column, part: FieldPart) -> Encoded | None:
    """A field of kind multi: a list, or a text with a separator. Of a row's values each counts once; beyond
    `part.width` they are left out, which is told."""
    lists = _lists(column, part)
    if lists is None:
        return None
    rows = pl.DataFrame({"row": pl.arange(len(lists), eager=True, dtype=pl.UInt32), "value": lists})
    flat = rows.explode("value", empty_as_null=False).drop_nulls("value")
    values = _as_values(column._replace(values=flat["value"], rows=flat["row"] + 1))
    if values is None:
        return None
    flat = flat.with_columns(value=values).drop_nulls("value").unique(maintain_order=True)
    if not _is_short_inside(column, flat):
        return None
    known = _known(column, flat["value"])
    if known is None:
        return None
    grouped = (
        flat.with_columns(value=_looked_up(flat["value"], known))
        .filter(pl.col("value") > 0)
        .group_by("row", maintain_order=True)
        .agg("value")
    )
    joined = rows.select("row").join(grouped, on="row", how="left", maintain_order="left")["value"]
    found = joined.fill_null(pl.Series([[]], dtype=pl.List(pl.Int64)))
    longest = int(found.list.len().max() or 0)  # pyright: ignore[reportArgumentType]
    if longest > part.width:
        place = int((found.list.len() > part.width).arg_max() or 0)
        number = int((found.list.len() > part.width).sum())
        column.warn(
            f"has {len(found[place])} values; the first {part.width} are kept, here and in {number - 1} more rows "
            f"(width = {longest} keeps all)",
            place + 1,
        )
    return Encoded(found.list.head(part.width), _names(known), max(1, min(longest, part.width)))


def text(column: Column) -> pl.Series | None:
    """Text, "" where there is none; None, with the problem told, for another type."""
    if column.values.dtype != pl.String:
        column.error(f"holds {column.values.dtype}; a text is a string: cast it, or give the field another kind", 1)
        return None
    return column.values.fill_null("").str.strip_chars()


def _lists(column: Column, part: FieldPart) -> pl.Series | None:
    values = column.values
    if isinstance(values.dtype, pl.List | pl.Array):
        return values.cast(pl.List(values.dtype.inner))
    if values.dtype != pl.String:
        column.error(f"holds {values.dtype}; multi is a list, or a text such as 'a{part.separator}b'", 1)
        return None
    return values.str.split(part.separator).list.eval(pl.element().str.strip_chars())


def _as_values(column: Column) -> pl.Series | None:
    """Whole numbers as int64, all else as text; null where there is nothing."""
    values = column.values
    if values.dtype.is_integer() or values.dtype.is_float():
        return whole(column, 'write whole numbers or text, or make it kind "dense"')
    if values.dtype == pl.Boolean or isinstance(values.dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if values.dtype != pl.String:
        column.error(f"holds {values.dtype}; categories are text or whole numbers: cast it", 1)
        return None
    values = values.set(values.is_in(["", UNKNOWN]), None)
    if column.typed or not values.str.contains(_WHOLE).all():
        return values
    return values.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)


def _is_short(column: Column, values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return True
    return not column.refuse(
        values.str.len_bytes() > LONGEST_BYTES, "has more than 1,024 bytes ({value})", "shorten it"
    )


def _is_short_inside(column: Column, flat: pl.DataFrame) -> bool:
    if flat["value"].dtype != pl.String or not len(
        too_long := flat.filter(pl.col("value").str.len_bytes() > LONGEST_BYTES)
    ):
        return True
    column.error("has a value of more than 1,024 bytes; shorten it, or set another separator", too_long["row"][0] + 1)
    return False


def _known(column: Column, values: pl.Series) -> pl.Series | None:
    known = values.drop_nulls().unique().sort()
    if len(known) > MOST_VALUES:
        column.error(f"has {len(known):,} distinct values, over {MOST_VALUES:,}; make them coarser, or take it out")
        return None
    return known


def _names(known: pl.Series) -> tuple[str, ...]:
    return (UNKNOWN, *known.cast(pl.String))


def _looked_up(values: pl.Series, known: pl.Series) -> pl.Series:
    """int64 ids, 0 for null."""
    table = pl.DataFrame({"value": known, "id": pl.arange(1, len(known) + 1, eager=True)})
    found = pl.DataFrame({"value": values.cast(known.dtype)}).join(table, on="value", how="left", maintain_order="left")
    return found["id"].fill_null(0)
