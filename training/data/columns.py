"""The fields of users, events and items as arrays: one id for each field, and what dense and multi-valued fields add.

A field of kind id is its id. A dense field is an id of two values, 0 where it is missing and 1 where it is there, and a
number beside it; a multi-valued field likewise, with its ids beside it. So a model over ids sees each field.

Axes: n rows, F fields, Fd dense fields, S places for the values of the multi-valued fields side by side.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from training.schema import Field, Role, Schema, Use, size_of, width_of

_THERE = 2
"""Ids of a field that is there or not."""


class Columns(NamedTuple):
    """Values of some fields."""

    ids: np.ndarray
    """int64 [n, F]"""
    dense: np.ndarray
    """float32 [n, Fd], as the data set has them; NaN where they are missing."""
    sets: np.ndarray
    """int64 [n, S], 0 in places without a value."""

    def rows(self, numbers: np.ndarray) -> "Columns":
        """These rows."""
        return Columns(*(part[numbers] for part in self))


class SetField(NamedTuple):
    """A multi-valued field in its place."""

    place: int
    """Among the F fields."""
    start: int
    """Among the S places."""
    stop: int
    cardinality: int


class Layout(NamedTuple):
    """Some fields in order, and where each has its values."""

    fields: tuple[Field, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of ids of each field in `Columns.ids`."""
        return tuple(size_of(field) if field.kind == "id" else _THERE for field in self.fields)

    @property
    def dense(self) -> tuple[int, ...]:
        """Places of the dense fields among all."""
        return tuple(place for place, field in enumerate(self.fields) if field.kind == "dense")

    @property
    def sets(self) -> tuple[SetField, ...]:
        """The multi-valued fields."""
        found, start = [], 0
        for place, field in enumerate(self.fields):
            if field.kind == "multi":
                stop = start + width_of(field)
                found.append(SetField(place, start, stop, size_of(field)))
                start = stop
        return tuple(found)

    @property
    def set_width(self) -> int:
        """S."""
        return self.sets[-1].stop if self.sets else 0

    def of(self, *roles: Role) -> "Layout":
        """Those of some roles."""
        return Layout(tuple(field for field in self.fields if field.role in roles))


_ROLES: tuple[Role, ...] = ("user", "event", "item")


def layout(schema: Schema, *uses: Use) -> Layout:
    """The id, dense and multi fields with any of these uses: the user's, then the event's, then the item's. An item's
    scenario is none of them by that use: what else it is its other uses say."""
    return Layout(
        tuple(
            field
            for role in _ROLES
            for field in schema.fields
            if field.role == role and field.kind in ("id", "dense", "multi") and {*uses} & _counting(field)
        )
    )


def _counting(field: Field) -> set[Use]:
    return {use for use in field.uses if field.role != "item" or use != "scenario"}


def feature_layout(schema: Schema) -> Layout:
    """Fields for models over fields: the keys, and all features."""
    return layout(schema, "key", "feature", "scenario")


def profile_layout(schema: Schema) -> Layout:
    """Fields that describe a user or an item beside its own row."""
    return layout(schema, "profile", "scenario")


def columns(frame: pl.DataFrame, fields: Layout) -> Columns:
    """Of each row of a frame with a column for each field; of a key, which has none, the number of the row."""
    ids = np.zeros((len(frame), len(fields.fields)), np.int64)
    dense = np.zeros((len(frame), len(fields.dense)), np.float32)
    sets = np.zeros((len(frame), fields.set_width), np.int64)
    for place, field in enumerate(fields.fields):
        if field.kind == "id":
            ids[:, place] = np.arange(len(frame)) if "key" in field.uses else frame[field.name].to_numpy()
    for number, place in enumerate(fields.dense):
        dense[:, number] = frame[fields.fields[place].name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
        ids[:, place] = ~np.isnan(dense[:, number])
    for one in fields.sets:
        padded = padded_lists(frame[fields.fields[one.place].name], one.stop - one.start)
        sets[:, one.start : one.stop] = padded
        ids[:, one.place] = (padded > 0).any(axis=1)
    return Columns(ids, dense, sets)


def padded_lists(lists: pl.Series, width: int) -> np.ndarray:
    """int64 [len, width]: the first values of each list, then zeros."""
    result = np.zeros((len(lists), width), np.int64)
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = lists.explode(empty_as_null=False).drop_nulls().to_numpy()
    row = np.repeat(np.arange(len(lists)), lengths)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = place < width
    result[row[kept], place[kept]] = flat[kept]
    return result


def side_by_side(parts: Sequence[Columns]) -> Columns:
    """The fields of several, in order."""
    return Columns(*(np.concatenate(same, axis=1) for same in zip(*parts, strict=True)))
