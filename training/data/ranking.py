"""Click prediction from a user's past ratings: events, splits by time and batches, all as array operations.

An event is one rating. Events are kept sorted by (user, timestamp, original row), so that the events of one user that
are strictly older than one of them are a contiguous range: a batch of histories is a gather of windows.

Axes: N events, U users, I items, B samples of a batch, L history, F user fields, G genres.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Int64
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from training.data.ids import table_rows, whole_numbers
from training.schema import Field, Schema

POSITIVE_RATING = 4
"""Ratings from this one on are positive labels."""
TRAIN_SHARE = 0.8
VALIDATION_SHARE = 0.1
USER_FIELDS = ("age", "gender", "occupation", "zip_region")
"""The columns of `user_fields`; id 0 of each is "unknown"."""
_MAX_RATING = 5


class RankingBatch(NamedTuple):
    """Samples: a target item, its label, and what the user had rated strictly before."""

    user: Int64[Tensor, " B"]
    user_fields: Int64[Tensor, "B F"]
    item: Int64[Tensor, " B"]
    """Raw id of the target."""
    history_items: Int64[Tensor, "B L"]
    """Raw ids, most recent first, 0 beyond the length. L is the longest history of the batch, at least 1."""
    history_ratings: Int64[Tensor, "B L"]
    """1 to 5, 0 beyond the length."""
    history_length: Int64[Tensor, " B"]
    label: Float32[Tensor, " B"]


class Events:
    """All ratings as int64 arrays [N] sorted by (user, timestamp, original row), and each one's past."""

    def __init__(self, ratings: pl.DataFrame) -> None:
        """`ratings` has columns user, item, rating and timestamp of any int64, in original row order.

        Raises ValueError for a column that holds something else.
        """
        user, item, rating, timestamp = (
            whole_numbers(ratings[name]) for name in ("user", "item", "rating", "timestamp")
        )
        # lexsort is stable: equal (user, timestamp) keep the row order.
        order = np.lexsort((timestamp, user))
        self.user, self.item, self.rating, self.timestamp = (x[order] for x in (user, item, rating, timestamp))
        # No number made of user and timestamp: the product of two int64 ids does not fit into an int64.
        new_user = _changes(self.user)
        self.past_start: np.ndarray = _latest(new_user)
        self.past_end: np.ndarray = _latest(new_user | _changes(self.timestamp))
        """The events strictly older than event n of the same user are [past_start[n], past_end[n])."""
        self.in_time: np.ndarray = np.lexsort((order, self.timestamp))
        """Places of the events by (timestamp, original row)."""
        self._reversed = self.item[::-1], self.rating[::-1]

    def __len__(self) -> int:
        return len(self.user)

    def of(self, user: int) -> slice:
        """The places of one user's events; empty for an unknown user."""
        return slice(*(int(np.searchsorted(self.user, user, side=side)) for side in ("left", "right")))

    def windows(self, ends: np.ndarray, lengths: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Items and ratings int64 [B, width] of the `lengths` events before place `ends`, newest first, then zeros."""
        beyond = np.arange(width) >= lengths[:, None]
        items, ratings = (self._window(values, ends, width) for values in self._reversed)
        items[beyond] = 0
        ratings[beyond] = 0
        return items, ratings

    def _window(self, newest_first: np.ndarray, ends: np.ndarray, width: int) -> np.ndarray:
        padded = np.concatenate((newest_first, np.zeros(width, np.int64)))
        return sliding_window_view(padded, width)[len(self) - ends]


def _changes(values: np.ndarray) -> np.ndarray:
    """bool [N]: whether each value is another one than that before it; the first is."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


def _latest(marks: np.ndarray) -> np.ndarray:
    """int64 [N]: the last marked place up to each place; the first one is marked."""
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))


class RankingSplit:
    """Samples in the order of (timestamp, original row). Implements `training.system.Split`."""

    def __init__(self, events: Events, places: np.ndarray, user_fields: np.ndarray, max_length: int) -> None:
        """`places` int64 [len] are the targets among the events; `user_fields` int64 [U + 1, F] by raw user id."""
        self._events = events
        self._places = places
        self._user_fields = user_fields
        self._ends = events.past_end[places]
        self._lengths = np.minimum(self._ends - events.past_start[places], max_length)
        self.user: np.ndarray = events.user[places]
        """int64 [len]"""
        self.label: np.ndarray = (events.rating[places] >= POSITIVE_RATING).astype(np.float32)
        """float32 [len], 0 or 1"""
        self.timestamp: np.ndarray = events.timestamp[places]
        """int64 [len]"""

    def __len__(self) -> int:
        return len(self._places)

    def cost(self) -> np.ndarray:
        """int64 [len]: the length of each sample's history."""
        return self._lengths

    def batch(self, rows: np.ndarray) -> RankingBatch:
        """The samples with these numbers, in this order; at least one."""
        lengths = self._lengths[rows]
        items, ratings = self._events.windows(self._ends[rows], lengths, max(1, int(lengths.max())))
        user = self.user[rows]
        columns = (
            user,
            self._user_fields[user],
            self._events.item[self._places[rows]],
            items,
            ratings,
            lengths,
            self.label[rows],
        )
        return RankingBatch(*map(torch.from_numpy, columns))


class Catalogue(NamedTuple):
    """What is known of items and users beside their ratings."""

    titles: dict[int, str]
    """By raw item id, 1 to I."""
    genres: tuple[str, ...]
    item_genres: np.ndarray
    """float32 [I + 1, G], 0 or 1, by raw item id; row 0 is zeros."""
    user_fields: np.ndarray
    """int64 [U + 1, F] by raw user id, columns as `USER_FIELDS`; row 0 is zeros."""
    field_values: dict[str, tuple[str, ...]]
    """Names of the ids of each user field, the first one "unknown"."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingData:
    """A set of ratings, split by time. Implements `training.system.Data`."""

    schema: Schema
    ratings: pl.DataFrame
    """user, item, rating, timestamp; in original row order."""
    events: Events
    train: RankingSplit
    validation: RankingSplit
    test: RankingSplit
    titles: dict[int, str]
    genres: tuple[str, ...]
    item_genres: np.ndarray
    """float32 [I + 1, G] by raw item id; row 0 is zeros."""
    user_fields: np.ndarray
    """int64 [U + 1, F] by raw user id, columns as `USER_FIELDS`; 0 is "unknown"."""
    train_item_counts: np.ndarray
    """int64 [I + 1]: training ratings per raw item id, the only statistic of the data that a model may use."""
    max_length: int

    def histories(self) -> dict[str, np.ndarray]:
        """What serving starts from, after all events: int64 arrays with one row per user who is known.

        `user_ids` [U] sorted, `history_items` and `history_ratings` [U, max_length] newest first, `history_length`
        [U, 1], `user_fields` [U, F]. The history of a user who has not rated is empty.
        """
        users = np.union1d(np.arange(1, len(self.user_fields)), self.events.user)
        starts, ends = (np.searchsorted(self.events.user, users, side) for side in ("left", "right"))
        lengths = np.minimum(ends - starts, self.max_length)
        items, ratings = self.events.windows(ends, lengths, self.max_length)
        return {
            "user_ids": users,
            "history_items": items,
            "history_ratings": ratings,
            "history_length": lengths[:, None],
            "user_fields": self.user_fields[users],
        }

    def seen(self, user: int) -> set[int]:
        """Raw ids of all items the user rated."""
        return set(self.events.item[self.events.of(user)].tolist())

    def liked(self, user: int, n: int) -> list[int]:
        """Raw ids of the n items that the user rated positive last, newest first."""
        places = self.events.of(user)
        positive = self.events.rating[places] >= POSITIVE_RATING
        return self.events.item[places][positive][::-1][:n].tolist()


def ranking_schema(dataset: str, catalogue: Catalogue, max_length: int) -> Schema:
    """The fields every ranking model may use."""
    num_users, num_items = len(catalogue.user_fields), len(catalogue.item_genres)
    titles = tuple(catalogue.titles.get(item, "unknown") for item in range(num_items))
    user_fields = (
        Field(name=name, kind="id", cardinality=len(values), values=values)
        for name, values in catalogue.field_values.items()
    )
    return Schema(
        dataset=dataset,
        fields=(
            Field(name="user_id", kind="id", cardinality=num_users),
            Field(name="item_id", kind="id", cardinality=num_items, values=titles),
            Field(name="genres", kind="vector", width=len(catalogue.genres)),
            Field(name="history_items", kind="sequence", cardinality=num_items, width=max_length),
            Field(name="history_ratings", kind="sequence", cardinality=_MAX_RATING + 1, width=max_length),
            *user_fields,
        ),
    )


def split_by_time(dataset: str, ratings: pl.DataFrame, catalogue: Catalogue, max_length: int) -> RankingData:
    """Splits as `training.data.movielens` documents. Raises ValueError for `max_length` < 1 or an empty part."""
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1")
    events = Events(ratings)
    table_rows(f"{dataset}: user", events.user, len(catalogue.user_fields))
    table_rows(f"{dataset}: item", events.item, len(catalogue.item_genres))
    parts = parts_by_time(dataset, events)
    train, validation, test = (RankingSplit(events, part, catalogue.user_fields, max_length) for part in parts)
    num_items = len(catalogue.item_genres)
    return RankingData(
        schema=ranking_schema(dataset, catalogue, max_length),
        ratings=ratings,
        events=events,
        train=train,
        validation=validation,
        test=test,
        titles=catalogue.titles,
        genres=catalogue.genres,
        item_genres=catalogue.item_genres,
        user_fields=catalogue.user_fields,
        train_item_counts=np.bincount(events.item[parts[0]], minlength=num_items),
        max_length=max_length,
    )


def parts_by_time(dataset: str, events: Events) -> list[np.ndarray]:
    """Places of the events of train, validation and test, int64 [len] each, in the order of (timestamp, original row).

    Raises ValueError for an empty part.
    """
    times = events.timestamp[events.in_time]
    borders = [_border(times, share) for share in (TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE)]
    parts = np.split(events.in_time, borders)
    if not all(map(len, parts)):
        raise ValueError(f"{dataset}: too few distinct timestamps among {len(events)} ratings to split by time")
    return parts


def _border(times: np.ndarray, share: float) -> int:
    """Events in the earlier part: the share, and every event at the moment of the last of them."""
    count = max(1, round(len(times) * share))
    return int(np.searchsorted(times, times[count - 1], side="right"))
