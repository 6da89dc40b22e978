"""The table of events, in canonical form."""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from training.data.folder.description import EventsPart
from training.data.folder.encoded import category
from training.data.folder.files import Table
from training.data.folder.labels import codes, flags, given_parts, labels_of, measured, refuse_constant
from training.data.folder.parts import borders
from training.data.folder.sides import Made, made
from training.data.folder.times import orders, times
from training.data.log import TRAIN_SHARE
from training.schema import Field, part_field

_MOMENTS = {"time": times, "order": orders}


class Events(NamedTuple):
    """Columns of events beside user and item, and their fields."""

    columns: dict[str, pl.Series]
    fields: tuple[Field, ...]


def wanted(part: EventsPart) -> list[str]:
    """The columns that the schema names."""
    single = (part.user, part.item, part.time, part.order, part.label, part.value, part.part, part.scenario)
    fields = [field.column for field in part.fields]
    concepts = [part.concepts.column] if part.concepts else []
    return [name for name in (*single, *part.objectives, *concepts, *fields) if name]


def events(table: Table, part: EventsPart) -> Events:
    """The columns that could be read; what is wrong with the others is told."""
    columns: dict[str, pl.Series] = {}
    fields: list[Field] = []
    moments: tuple[tuple[Literal["time", "order"], str | None], ...] = (("time", part.time), ("order", part.order))
    for name, source in moments:
        if source and (found := _MOMENTS[name](table.column(source))) is not None:
            columns[name] = found
            fields.append(Field(name=name, role="event", kind="dense", uses=(name,), source=source))
    _add_outcome(table, part, columns, fields)
    if part.part and (parts := given_parts(table.column(part.part))) is not None:
        columns["part"] = parts
        fields.append(part_field(part.part))
    for one in [_scenario(table, part.scenario), *(_objective(table, name) for name in part.objectives)]:
        if one is not None:
            columns[one.field.name] = one.values
            fields.append(one.field)
    for field in part.fields:
        if one := made(table, field, "event", ("feature",)):
            columns[field.name] = one.values
            fields.append(one.field)
    return Events(columns, tuple(fields))


def _add_outcome(table: Table, part: EventsPart, columns: dict[str, pl.Series], fields: list[Field]) -> None:
    """Value and label."""
    labelled = table.column(part.label) if part.label else None
    label = flags(labelled) if labelled else None
    if part.value:
        column = table.column(part.value)
        values = measured(column)
        if values is not None:
            found = codes(values, _early(columns.get("time"), len(values)))
            columns["value"] = found.codes
            size = len(found.names)
            fields.append(
                Field(name=part.value, role="event", kind="id", uses=("value",), cardinality=size, values=found.names)
            )
            if part.positive:
                labelled, label = column, labels_of(values, part.positive)
    if labelled and label is not None and not refuse_constant(labelled, label, part.positive):
        columns["label"] = label
        made_by = f"{labelled.name} {part.positive.sign} {part.positive.bound}" if part.positive else labelled.name
        fields.append(Field(name="label", role="event", kind="id", uses=("label",), cardinality=2, source=made_by))


def _early(time: pl.Series | None, number: int) -> np.ndarray:
    """Places of the first 80 % of the events in time, or in the file where there is no time."""
    if time is None:
        return np.arange(max(1, round(number * TRAIN_SHARE)))
    return np.flatnonzero(time.to_numpy() <= borders(time.to_numpy()).train)


def _scenario(table: Table, name: str | None) -> Made | None:
    """Each event is in one; an unknown one is none."""
    if name is None:
        return None
    column = table.column(name)
    if column.refuse(column.values.is_null(), "is empty", "name the scenario of each event"):
        return None
    found = category(column)
    if found is None:
        return None
    field = Field(
        name=name,
        role="event",
        kind="id",
        uses=("feature", "scenario"),
        cardinality=len(found.names),
        values=found.names,
    )
    return Made(found.ids, field)


def _objective(table: Table, name: str) -> Made | None:
    found = flags(table.column(name))
    if found is None:
        return None
    return Made(found, Field(name=name, role="event", kind="id", uses=("objective",), cardinality=2))
