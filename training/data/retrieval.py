"""Retrieval: what a user meets next among all items, from what he met before; split per user in time.

Of each user's events, in order, the last ones test, those before validate, the rest trains: one of each (leave one
out), or a fifth and a tenth where events have objectives, as few of them serve the rarer ones. What a user had met
before is no target. A history holds what is strictly older than the first target.

Axes: E events, N items, U users, O objectives, B samples of a batch, L history, T targets, S items met before, F and G
fields of users and of items.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.interactions import Interactions, by_user, moments_of
from training.needs import ITEMS, MOMENT, USERS, Need, require
from training.schema import Field, Role, Schema, size_of
from training.system import Wanted

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Of a user's events, where they have objectives; at least one each."""
MAX_VALIDATION = 3_000
"""Users who are measured after each epoch; the same ones in every run."""


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
    """What the user had met before the first target, which is not to be listed; 0 = none. At least as much as the
    history."""


class _Events(NamedTuple):
    """Positives sorted by (user, time or order, original row), int64 [E] each."""

    user: np.ndarray
    item: np.ndarray
    start: np.ndarray
    """Place of the user's first event."""
    moment: np.ndarray
    """Place of the user's first event at the same time."""
    objectives: np.ndarray
    """bool [E, O]"""
    names: list[str]
    """Of the objectives."""


class RetrievalSplit:
    """Samples: a history and its targets. Implements `training.system.Split`."""

    def __init__(self, events: _Events, places: np.ndarray, user_fields: np.ndarray, max_length: int) -> None:
        """The targets of row r are the events at `places[r]`, int64 [len, T], ascending, -1 after the last."""
        self._events, self._places, self._user_fields = events, places, user_fields
        first = places[:, 0]
        self.user: np.ndarray = events.user[first]
        """int64 [len]: dense ids."""
        self.names: list[str] = events.names
        """Of the objectives, the widest first."""
        self._end = events.moment[first]
        self._length = np.minimum(self._end - events.start[first], max_length)

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
        steps = np.arange(max(1, int(length.max())))
        before = (self._end[rows] - length)[:, None] + steps
        history = self._events.item[np.minimum(before, len(self._events.item) - 1)]
        columns = (
            self._user_fields[self.user[rows]],
            np.where(steps < length[:, None], history, 0),
            length,
            np.where(places >= 0, self._events.item[places], 0),
            self._objectives(places),
            self._seen(places[:, 0]),
        )
        return RetrievalBatch(*map(torch.from_numpy, columns))

    def _objectives(self, places: np.ndarray) -> np.ndarray:
        return ((places[..., None] >= 0) & self._events.objectives[places]).astype(np.float32)

    def _seen(self, first: np.ndarray) -> np.ndarray:
        """int64 [rows, S]: the items of the user's events before a place."""
        start = self._events.start[first]
        steps = np.arange(max(1, int((first - start).max())))
        met = self._events.item[np.minimum(start[:, None] + steps, len(self._events.item) - 1)]
        return np.where(steps < (first - start)[:, None], met, 0)


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
    events = _events(interactions)
    parts = _parts(events, by_share=bool(events.names))
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
    return bool((positives(interactions)["user"].value_counts()["count"] >= 3).any())


NEEDS = (
    USERS,
    ITEMS,
    MOMENT,
    Need("a user with three positive events", _has_three, "longer histories: one each trains, validates and tests"),
)


def _events(interactions: Interactions) -> _Events:
    """The positives, in order."""
    rows = positives(interactions)
    order = by_user(rows)
    user = rows["user"].to_numpy().astype(np.int64)[order]
    new_user = np.append(True, user[1:] != user[:-1])
    new_moment = new_user.copy()
    for moment in moments_of(rows):
        new_moment[1:] |= moment[order][1:] != moment[order][:-1]
    place = np.arange(len(user))
    start, moment = (np.maximum.accumulate(np.where(new, place, 0)) for new in (new_user, new_moment))
    item = rows["item"].to_numpy().astype(np.int64)[order]
    objectives = _objectives(interactions)
    served = rows.select(objectives).to_numpy().reshape(len(rows), -1)[order] > 0
    return _Events(user, item, start, moment, served, objectives)


def positives(interactions: Interactions) -> pl.DataFrame:
    """Events that serve an objective; with no objectives those with a positive label; with no labels all."""
    objectives = _objectives(interactions)
    if not objectives:
        return interactions.positives
    return interactions.events.filter(pl.any_horizontal(pl.col(objectives) > 0))


def _objectives(interactions: Interactions) -> list[str]:
    return [field.name for field in interactions.schema.of("objective", "event")]


def _parts(events: _Events, *, by_share: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the targets of train [E', 1], validation and test [users, T]."""
    starts, sizes = np.unique(events.start, return_counts=True)
    split = sizes >= 3
    one = np.ones_like(sizes)
    tested = np.maximum(one, np.floor(TEST_SHARE * sizes).astype(int)) if by_share else one
    validated = np.maximum(one, np.floor(VALIDATION_SHARE * sizes).astype(int)) if by_share else one
    ends = starts + sizes
    borders = np.where(split, ends - tested - validated, ends), np.where(split, ends - tested, ends)
    user = np.repeat(np.arange(len(starts)), sizes)
    place = np.arange(len(user))
    part = (place >= borders[0][user]).astype(int) + (place >= borders[1][user])
    fresh = _first_meetings(events)
    held_out = [_rows(place[(part == number) & fresh], user) for number in (1, 2)]
    chosen = np.sort(np.random.default_rng(0).permutation(len(held_out[0]))[:MAX_VALIDATION])
    return place[part == 0][:, None], held_out[0][chosen], held_out[1]


def _first_meetings(events: _Events) -> np.ndarray:
    """bool [E]: whether the user had not met the item before."""
    order = np.lexsort((events.item, events.user))
    user, item = events.user[order], events.item[order]
    first = np.zeros(len(order), bool)
    first[order] = np.append(True, (user[1:] != user[:-1]) | (item[1:] != item[:-1]))
    return first


def _rows(places: np.ndarray, user: np.ndarray) -> np.ndarray:
    """int64 [users, T]: the places of each user who has one, -1 after the last."""
    _, row, counts = np.unique(user[places], return_inverse=True, return_counts=True)
    table = np.full((len(counts), int(counts.max(initial=1))), -1)
    table[row, np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)] = places
    return table
