"""Concepts that the table of events names beside each answer, as a table of items: a question has the same in each."""

import polars as pl

from training.data.folder.description import MULTI_WIDTH, EventsPart, FieldPart, SidePart
from training.data.folder.files import Table

FIELD = "concepts"
"""Name of the field of items that is made of them."""


def part_of(events: EventsPart) -> SidePart | None:
    """[items] as it would describe them; None where events name no concepts."""
    if events.concepts is None:
        return None
    column, separator = events.concepts
    field = FieldPart(FIELD, column, "multi", "concept", separator, MULTI_WIDTH)
    return SidePart(file=None, separator=None, key=None, fields=(field,))


def table_of(events: Table, part: EventsPart) -> Table | None:
    """One row for each item; None, with the problem told, where an event names no concept, or an item has other ones
    than at its first event."""
    assert part.concepts is not None
    name, separator = part.concepts
    column, item = events.column(name), events.frame[part.item]
    if column.refuse(column.values.is_null(), "is empty", "name what the question asks for, or leave the row out"):
        return None
    texts = column.values.dtype == pl.String
    lists = column.values.str.split(separator) if texts else column.values
    alike = pl.DataFrame({"item": item, "concepts": lists.list.sort() if lists.dtype.is_nested() else lists})
    first = alike.with_row_index("first").group_by("item", maintain_order=True).first()
    found = alike.join(first, on="item", how="left", maintain_order="left", nulls_equal=True)
    differs = found["concepts"] != found["concepts_right"]
    if differs.any():
        place = int(differs.arg_max() or 0)
        row = found["first"][place] + 1
        remedy = "write the same ones, or give each variant of the question an id of its own"
        number = f" ({int(differs.sum())} such rows)" if differs.sum() > 1 else ""
        column.error(f"names other concepts of the same {part.item} than row {row}{number}; {remedy}", place + 1)
        return None
    return events._replace(frame=events.frame[first["first"]])
