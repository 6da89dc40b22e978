"""The tables of users and of items, in canonical form: row r is the one with dense id r, row 0 the unknown one."""

from typing import NamedTuple

import polars as pl

from training.data.folder.dense import dense
from training.data.folder.description import FieldPart
from training.data.folder.encoded import Encoded, category, several, text
from training.data.folder.files import Table
from training.data.folder.problems import Column, shown
from training.schema import Field, Role, Use


class Side(NamedTuple):
    """Users or items."""

    frame: pl.DataFrame
    fields: tuple[Field, ...]


class Made(NamedTuple):
    """A column in canonical form, and its field."""

    values: pl.Series
    field: Field


def made(table: Table, part: FieldPart, role: Role, uses: tuple[Use, ...]) -> Made | None:
    """A field; None, with the problem told, where its column is another one."""
    column = table.column(part.column)
    if part.kind == "dense":
        numbers = dense(column)
        return None if numbers is None else Made(numbers, _plain(part, role, uses))
    if part.kind == "text":
        texts = text(column)
        return None if texts is None else Made(texts, _plain(part, role, uses))
    encoded = category(column) if part.kind == "id" else several(column, part)
    return None if encoded is None else Made(encoded.ids, _of_ids(part, role, uses, encoded))


def _plain(part: FieldPart, role: Role, uses: tuple[Use, ...]) -> Field:
    return Field(name=part.name, role=role, kind=part.kind, uses=uses, source=_source(part))


def _source(part: FieldPart) -> str | None:
    return None if part.column == part.name else part.column


def _of_ids(part: FieldPart, role: Role, uses: tuple[Use, ...], encoded: Encoded) -> Field:
    return Field(
        name=part.name,
        role=role,
        kind=part.kind,
        uses=uses,
        cardinality=len(encoded.names),
        width=encoded.width,
        values=encoded.names,
        source=_source(part),
    )


def side(table: Table, ids: pl.Series, size: int, parts: tuple[FieldPart, ...], role: Role) -> Side | None:
    """The table with its rows at their dense ids, int64, of which there are `size`; None, with the problems told."""
    if not parts:
        return nobody_described(size)
    found = [made(table, part, role, _uses(part, parts, role)) for part in parts]
    columns = [one for one in found if one is not None]
    if len(columns) < len(parts):
        return None
    frame = pl.DataFrame({"row": ids, **{one.field.name: one.values for one in columns}})
    rows = pl.DataFrame({"row": pl.arange(size + 1, eager=True)}).join(
        frame, on="row", how="left", maintain_order="left"
    )
    fields = tuple(one.field for one in columns)
    return Side(rows.select(*(_filled(field) for field in fields)), fields)


def nobody_described(size: int) -> Side:
    """A side without a table."""
    return Side(pl.DataFrame(height=size + 1), ())


def refuse_duplicates(key: Column, table: Table, parts: tuple[FieldPart, ...]) -> bool:
    """Whether an id has more than one row."""
    repeated = ~key.values.is_first_distinct()
    number = int(repeated.sum())
    if not number:
        return False
    place = int(repeated.arg_max() or 0)
    first = int((key.values == key.values[place]).arg_max() or 0)
    others = f" ({number} such rows)" if number > 1 else ""
    for part in parts:
        before, now = (table.frame[part.column][row] for row in (first, place))
        if isinstance(before, pl.Series):
            before, now = before.to_list(), now.to_list()
        if before != now:
            differs = f"with another '{part.column}': {shown(before)}, {shown(now)}"
            key.error(
                f"{key.told(key.values[place])} is in row {first + 1} too, {differs}{others}; keep one row", place + 1
            )
            return True
    key.error(f"{key.told(key.values[place])} is in row {first + 1} too{others}; keep one row of each", place + 1)
    return True


def _uses(part: FieldPart, parts: tuple[FieldPart, ...], role: Role) -> tuple[Use, ...]:
    """Of an item's fields the first of kind id that is nothing else is the category, where none is called so."""
    uses: tuple[Use, ...] = ("feature", "profile")
    if part.use in ("concept", "scenario"):
        return (*uses, part.use)
    plain = [one for one in parts if one.kind == "id" and one.use is None]
    named = [one for one in parts if one.use == "category"] or plain
    return (*uses, "category") if role == "item" and part in named[:1] else uses


def _filled(field: Field) -> pl.Expr:
    column = pl.col(field.name)
    if field.kind == "multi":
        return column.fill_null(pl.lit([], dtype=pl.List(pl.Int64)))
    return column.fill_null({"id": 0, "dense": float("nan"), "text": ""}[field.kind])
