"""Click prediction from categorical fields: one id per field and sample, the user's fields first.

A sample is one rating, its label 1 where the rating is 4 or more. Events, their order and the split by time are those
of `training.data.ranking`. In every field id 0 is "unknown"; the first field of the user's side is `user_id`, the
first of the item's side `item_id`.

Axes: N events, B samples of a batch, F fields = Fu of the user + Fi of the item, U users, I items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.data.ids import table_rows
from training.data.ranking import POSITIVE_RATING, TRAIN_SHARE, VALIDATION_SHARE, Events, parts_by_time
from training.schema import Schema

UNKNOWN = "unknown"
"""Name of id 0 of every field."""


class FieldBatch(NamedTuple):
    """Samples as rows of ids."""

    user: Int64[Tensor, " B"]
    """Raw id, for GAUC."""
    ids: Int64[Tensor, "B F"]
    """As the data set has them; which of them an embedding knows is the embedding's matter."""
    label: Float32[Tensor, " B"]


class FieldSplit:
    """Samples in the order of their places. Implements `training.system.Split`."""

    def __init__(self, events: Events, places: np.ndarray, ids: np.ndarray) -> None:
        """`places` int64 [len] are the samples among the events, `ids` int64 [len, F] their fields."""
        self.places: np.ndarray = places
        """int64 [len]: which events they are."""
        self.user: np.ndarray = events.user[places]
        """int64 [len]"""
        self.label: np.ndarray = (events.rating[places] >= POSITIVE_RATING).astype(np.float32)
        """float32 [len], 0 or 1"""
        self.timestamp: np.ndarray = events.timestamp[places]
        """int64 [len]"""
        self.ids: np.ndarray = ids
        """int64 [len, F]"""

    def __len__(self) -> int:
        return len(self.places)

    def cost(self) -> np.ndarray:
        """int64 [len]: ones, as every sample has the same fields."""
        return np.ones(len(self), np.int64)

    def batch(self, rows: np.ndarray) -> FieldBatch:
        """The samples with these numbers, in this order."""
        return FieldBatch(*map(torch.from_numpy, (self.user[rows], self.ids[rows], self.label[rows])))


class UserSide(NamedTuple):
    """The user's fields: at each event, from what was known before it, and after all events."""

    at_event: np.ndarray
    """int64 [N, Fu], in the order of the events."""
    now: np.ndarray
    """int64 [U, Fu], users ascending by raw id."""
    ids: np.ndarray | None = None
    """int64 [U]: the raw ids of the users; None for those who have events."""
    new: np.ndarray | None = None
    """int64 [Fu]: of a user whom nobody has seen, with an empty history; None where each of the fields is unknown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldData:
    """A set of ratings with fields, split into three parts. Implements `training.system.Data`."""

    schema: Schema
    """The fields in order, each of kind "id" with its cardinality and side."""
    events: Events
    train: FieldSplit
    validation: FieldSplit
    test: FieldSplit
    user_ids: np.ndarray
    """int64 [U]: raw ids of the users who can be asked for, ascending."""
    user_rows: np.ndarray
    """int64 [U, Fu]: their fields after all events."""
    new_user: np.ndarray
    """int64 [Fu]: the fields of anybody else: unknown, but for what follows from an empty history."""
    item_rows: np.ndarray
    """int64 [I + 1, Fi] by raw item id; row 0 is zeros."""
    titles: dict[int, str]
    """By raw item id, 1 to I."""

    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.schema.fields)

    @property
    def num_user_fields(self) -> int:
        return num_user_fields(self.schema)

    def seen(self, user: int) -> set[int]:
        """Raw ids of all items the user rated."""
        return set(self.events.item[self.events.of(user)].tolist())

    def liked(self, user: int, n: int) -> list[int]:
        """Raw ids of the n items that the user rated positive last, newest first."""
        places = self.events.of(user)
        positive = self.events.rating[places] >= POSITIVE_RATING
        return self.events.item[places][positive][::-1][:n].tolist()


def num_user_fields(schema: Schema) -> int:
    """How many fields are the user's; they come first. Raises ValueError where they do not."""
    sides = [field.side for field in schema.fields]
    count = sides.count("user")
    if sides != ["user"] * count + ["item"] * (len(sides) - count):
        raise ValueError(f"{schema.dataset}: the user's fields must come first, then the item's; found {sides}")
    return count


def cardinalities(schema: Schema) -> tuple[int, ...]:
    """Number of ids of each field. Raises ValueError for a field that is not an id or leaves its cardinality open."""
    if bad := [field.name for field in schema.fields if field.kind != "id" or not field.cardinality]:
        raise ValueError(f"{schema.dataset}: fields {bad} are not ids with a cardinality; use a set of fields")
    return tuple(field.cardinality or 0 for field in schema.fields)


def encode(values: Sequence[str | None]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Categories by name -> ids int64 [len], and the names by id: None is "unknown", 0; the rest by the alphabet."""
    names = (UNKNOWN, *sorted({value for value in values if value is not None}))
    number = {name: place for place, name in enumerate(names)}
    return np.array([0 if value is None else number[value] for value in values], np.int64), names


def split_fields(
    schema: Schema, events: Events, users: UserSide, item_rows: np.ndarray, titles: dict[int, str]
) -> FieldData:
    """Parts by time as `training.data.movielens` documents. `item_rows` int64 [I + 1, Fi] by raw item id.

    Raises ValueError for an empty part, and for ids that the schema does not have.
    """
    items = table_rows(f"{schema.dataset}: item", events.item, len(item_rows))
    ids = np.concatenate((users.at_event, item_rows[items]), axis=1)
    _check(schema, ids)
    train, validation, test = _splits(events, parts_by_time(schema.dataset, events), ids)
    return FieldData(
        schema=schema,
        events=events,
        train=train,
        validation=validation,
        test=test,
        user_ids=np.unique(events.user) if users.ids is None else users.ids,
        user_rows=users.now,
        new_user=np.zeros(users.now.shape[1], np.int64) if users.new is None else users.new,
        item_rows=item_rows,
        titles=titles,
    )


def shuffled(data: FieldData, seed: int) -> FieldData:
    """The same samples in random parts of 80, 10 and 10 %: the protocol of published tables, which looks ahead."""
    ids = np.empty((len(data.events), len(data.schema.fields)), np.int64)
    for part in (data.train, data.validation, data.test):
        ids[part.places] = part.ids
    order = np.random.default_rng(seed).permutation(len(ids))
    borders = [round(len(ids) * share) for share in (TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE)]
    train, validation, test = _splits(data.events, np.split(order, borders), ids)
    return replace(data, train=train, validation=validation, test=test)


def _splits(events: Events, parts: Sequence[np.ndarray], ids: np.ndarray) -> list[FieldSplit]:
    return [FieldSplit(events, places, ids[places]) for places in parts]


def _check(schema: Schema, ids: np.ndarray) -> None:
    sizes = cardinalities(schema)
    if ids.shape[1] != len(sizes):
        raise ValueError(f"{schema.dataset}: {ids.shape[1]} columns of ids for {len(sizes)} fields of the schema")
    for field, size, low, high in zip(schema.fields, sizes, ids.min(0), ids.max(0), strict=True):
        if low < 0 or high >= size:
            raise ValueError(f"{schema.dataset}: field '{field.name}' has ids {low} to {high}, outside 0 to {size - 1}")
