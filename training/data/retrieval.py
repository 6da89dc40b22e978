"""Retrieval: what a user meets next among all items, from what he met before.

The split is per user: in time or order, or as the set's publisher gave it (`training.data.retrieval_events`). What a
user had met before is no target. In time or order a history holds what is strictly older than the first target. Of
given parts it holds what trained, alone: at the test the validation part is left out of the list and of the history
too, and a training event without a moment of its own has all others as history, in the order of the file.

Axes: E events, N items, U users, O objectives, B samples of a batch, L history, T targets, S items met before, F and G
fields of users and of items.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.data.retrieval_events import TEST, TRAIN, Events, events_of, has_parts, positives, targets_of
from training.interactions import Interactions
from training.needs import ITEMS, MOMENT_OR_PART, USERS, Need, require
from training.schema import Field, Role, Schema, size_of
from training.system import Wanted


class RetrievalBatch(NamedTuple):
    """Histories, and what came after them."""

    user_fields: Int64[Tensor, "B F"]
    history: Int64[Tensor, "B L"]
    """Oldest first, 0 beyond the length."""
    length: Int64[Tensor, " B"]
    targets: Int64[Tensor, "B T"]
    """0 = none; in the training part exactly one."""
    objectives: Float32[Tensor, "B T O"]
    """1 where the target served the objective."""
    seen: Int64[Tensor, "B S"]
    """What the user had met before the first target, and is not to be listed; 0 = none. At least as much as the
    history."""


class RetrievalSplit:
    """Samples: a history and its targets. Implements `training.system.Split`."""

    def __init__(self, events: Events, places: np.ndarray, user_fields: np.ndarray, max_length: int) -> None:
        """The targets of row r are the events at `places[r]`, int64 [len, T], ascending, -1 after the last."""
        self._events, self._places, self._user_fields = events, places, user_fields
        first = places[:, 0]
        self.user: np.ndarray = events.user[first]
        """int64 [len]: dense ids."""
        self.names: list[str] = events.names
        """Of the objectives, the widest first."""
        self._available = events.until[first] - events.start[first] - (first < events.until[first])
        self._length = np.minimum(self._available, max_length)

    def __len__(self) -> int:
        return len(self._places)

    def cost(self) -> np.ndarray:
        """int64 [len]: the length of each history."""
        return self._length

    @property
    def targets(self) -> np.ndarray:
        """int64 [len, T]: as in all batches together."""
        return np.where(self._places >= 0, self._events.item[self._places], 0)

    @property
    def objectives(self) -> np.ndarray:
        """float32 [len, T, O]: as in all batches together."""
        return self._objectives(self._places)

    def batch(self, rows: np.ndarray) -> RetrievalBatch:
        """The samples with these numbers, in this order; at least one."""
        places, length = self._places[rows], self._length[rows]
        start, first = self._events.start[places[:, 0]], places[:, 0]
        met = np.maximum(first - start, self._available[rows])
        columns = (
            self._user_fields[self.user[rows]],
            self._items(start + self._available[rows] - length, length, first),
            length,
            np.where(places >= 0, self._events.item[places], 0),
            self._objectives(places),
            self._items(start, met, first),
        )
        return RetrievalBatch(*map(torch.from_numpy, columns))

    def _objectives(self, places: np.ndarray) -> np.ndarray:
        return ((places[..., None] >= 0) & self._events.objectives[places]).astype(np.float32)

    def _items(self, begin: np.ndarray, count: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """int64 [rows, S]: so many items from a place on, then zeros; the event at the place `left_out` is passed
        over."""
        steps = np.arange(max(1, int(count.max())))
        place = begin[:, None] + steps
        place += place >= left_out[:, None]
        return np.where(steps < count[:, None], self._events.item[np.minimum(place, len(self._events.item) - 1)], 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalData:
    """Users' events, split. Implements `training.system.Data`."""

    schema: Schema
    interactions: Interactions
    """For what else is known of the items: content, titles."""
    train: RetrievalSplit
    validation: RetrievalSplit
    test: RetrievalSplit
    user_fields: np.ndarray
    """int64 [U + 1, F] by dense id: `fields_of(schema, "user")`; no columns unless `users` was asked for."""
    item_fields: np.ndarray
    """int64 [N + 1, G] by dense id: `fields_of(schema, "item")`."""
    train_item_counts: np.ndarray
    """int64 [N + 1]: training events of each item, the only statistic of choices that a model may use."""
    max_length: int
    given: Mapping[str, Tensor]


def fields_of(schema: Schema, role: Role) -> tuple[Field, ...]:
    """The fields of users or items that retrieval models read, in the order of the columns: profiles of kind id."""
    return tuple(field for field in schema.of("profile", role) if field.kind == "id")


def retrieval_view(interactions: Interactions, wanted: Wanted) -> RetrievalData:
    """The split that the module's docstring describes.

    Raises ValueError for `max_length` < 1, and naming what of `NEEDS` is missing.
    """
    if wanted.max_length < 1:
        raise ValueError(f"max_length is {wanted.max_length}; it must be at least 1")
    schema = interactions.schema
    require(interactions, "retrieval", NEEDS)
    events = events_of(interactions)
    parts = targets_of(events)
    user_fields = _columns(interactions, "user") if "users" in wanted.reads else _none(schema, "user")
    train, validation, test = (RetrievalSplit(events, part, user_fields, wanted.max_length) for part in parts)
    return RetrievalData(
        schema=schema,
        interactions=interactions,
        train=train,
        validation=validation,
        test=test,
        user_fields=user_fields,
        item_fields=_columns(interactions, "item"),
        train_item_counts=np.bincount(events.item[parts[0][:, 0]], minlength=size_of(schema.key("item"))),
        max_length=wanted.max_length,
        given=wanted.given,
    )


def _columns(interactions: Interactions, role: Literal["user", "item"]) -> np.ndarray:
    """int64 [rows, columns]"""
    table = interactions.users if role == "user" else interactions.items
    fields = fields_of(interactions.schema, role)
    columns = [table[field.name].to_numpy().astype(np.int64) for field in fields]
    return np.stack(columns, axis=1) if columns else _none(interactions.schema, role)


def _none(schema: Schema, role: Role) -> np.ndarray:
    return np.zeros((size_of(schema.key(role)), 0), np.int64)


def _has_three(interactions: Interactions) -> bool:
    counts = positives(interactions)["user"].value_counts()["count"]
    return has_parts(interactions) or bool((counts >= 3).any())


def _has_both(interactions: Interactions) -> bool:
    return not has_parts(interactions) or {1 + TRAIN, 1 + TEST} <= {*positives(interactions)["part"]}


NEEDS = (
    USERS,
    ITEMS,
    MOMENT_OR_PART,
    Need("a user with three positive events", _has_three, "longer histories: one each trains, validates and tests"),
    Need("positive events that train and some that test", _has_both, "rows whose part is train, and rows with test"),
)
