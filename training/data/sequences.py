"""The view of a data set for next items: each user's items in order of time, the last two held out.

Leave one out, as published for S3-Rec's sets: of a user's sequence the last item is the test target, the last but one
the validation target, the rest trains. A sample of a held-out item has all that came before as history, so that the
test history ends with the validation target. Of a user with fewer than 3 events nothing is held out. Item 0 is
"unknown" and the filling.

Every event is a choice, whatever its value. Only where a data set has labels and no values, those labelled 0 are none:
what was shown and passed over was not chosen.

Axes: N items, U users, B samples of a batch, L history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from training.data.columns import Columns, Layout, columns, layout
from training.data.content import with_vectors
from training.data.ids import table_rows
from training.interactions import Content, Interactions, by_user
from training.needs import ITEMS, MOMENT, USERS, Need, require
from training.schema import Schema, size_of
from training.system import Wanted

TASK = "next_item"
CONTENT = "content"
"""In `Wanted.reads`: the schema has the items' vectors too, where the data set has any."""
MAX_VALIDATION = 3_000
"""Users whose last but one item is measured after each epoch; the same ones in every run."""
HELD_OUT = 2
"""Items of each user that train nothing: one to validate, one to test."""


class SequenceBatch(NamedTuple):
    """Histories, and the item that follows each of their places."""

    user: Int64[Tensor, " B"]
    items: Int64[Tensor, "B L"]
    """Oldest first, 0 beyond the length; L is the longest of the batch."""
    length: Int64[Tensor, " B"]
    """At least 1."""
    targets: Int64[Tensor, "B L"]
    """The item after each place, 0 where none is to be learnt or predicted. In validation and test only the newest
    place has one."""

    def newest_target(self) -> Int64[Tensor, " B"]:
        """The item after each history's last place."""
        return self.targets.gather(1, self.length[:, None] - 1)[:, 0]


class SequenceSplit:
    """Windows of the users' sequences. Implements `training.system.Split`."""

    def __init__(
        self,
        items: np.ndarray,
        users: np.ndarray,
        borders: np.ndarray,
        targets: Literal["all", "last"],
        train_counts: np.ndarray,
    ) -> None:
        """`items` int64 [E] are all users' sequences one after the other; row r is of user `users[r]`, its history and
        targets lie in the places `borders[r, 0]` to `borders[r, 1]`, the last of which is only a target.
        `train_counts` int64 [N + 1] is how often each item trains."""
        self.user: np.ndarray = users
        """int64 [len]"""
        self.target: np.ndarray = items[borders[:, 1] - 1] if targets == "last" else np.zeros(len(users), np.int64)
        """int64 [len]: the held-out item, 0 in the training part."""
        self.times_trained: np.ndarray = train_counts[self.target]
        """int64 [len]: how often the held-out item trains."""
        self._items, self._start, self._length = items, borders[:, 0], borders[:, 1] - borders[:, 0] - 1
        self._targets = targets

    def __len__(self) -> int:
        return len(self.user)

    def cost(self) -> np.ndarray:
        """int64 [len]: the length of each history."""
        return self._length

    def batch(self, rows: np.ndarray) -> SequenceBatch:
        """The samples with these numbers, in this order; at least one."""
        lengths = self._length[rows]
        steps = np.arange(int(lengths.max()))
        places = self._start[rows, None] + steps
        inside = steps < lengths[:, None]
        wanted = inside if self._targets == "all" else steps == lengths[:, None] - 1
        items, targets = (
            np.where(mask, self._items[np.minimum(places + shift, len(self._items) - 1)], 0)
            for mask, shift in ((inside, 0), (wanted, 1))
        )
        return SequenceBatch(*map(torch.from_numpy, (self.user[rows], items, lengths, targets)))


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceData:
    """Users' sequences and the catalogue of items. Implements `training.system.Data`."""

    interactions: Interactions
    schema: Schema
    """Of the data set, and of the vectors that are read."""
    train: SequenceSplit
    validation: SequenceSplit
    test: SequenceSplit
    user_ids: np.ndarray
    """int64 [U], ascending: dense ids of the users who chose anything."""
    sequences: list[np.ndarray]
    """int64, of each of these users: everything, oldest first."""
    train_item_counts: np.ndarray
    """int64 [N + 1]: how often each item trains, the only statistic of choices that a model may use."""
    given: Mapping[str, Tensor]
    """What other systems' runs gave (`System.products`), by name."""

    @property
    def item_fields(self) -> Columns:
        """The fields of `item_layout`, by dense id."""
        return columns(self.interactions.items, item_layout(self.schema))

    @property
    def content(self) -> Content:
        """What the items are."""
        return self.interactions.content

    @property
    def categories(self) -> np.ndarray:
        """int64 [N + 1], 0 = unknown; zeros where the data set has none."""
        fields = self.schema.of("category", "item")
        if not fields:
            return np.zeros(size_of(self.schema.key("item")), np.int64)
        return self.interactions.items[fields[0].name].to_numpy(writable=True)

    def sequence(self, user: int) -> np.ndarray:
        """int64, oldest first; empty for an unknown user."""
        row = int(np.searchsorted(self.user_ids, user))
        known = row < len(self.user_ids) and self.user_ids[row] == user
        return self.sequences[row] if known else np.zeros(0, np.int64)


def item_layout(schema: Schema) -> Layout:
    """The fields that say what an item is, beside its key: profiles, and its category."""
    return layout(schema, "profile", "category").of("item")


def num_categories(schema: Schema) -> int:
    """Categories of items, 0 = unknown among them; 1 where the data set has none."""
    fields = schema.of("category", "item")
    return size_of(fields[0]) if fields else 1


def choices(interactions: Interactions) -> pl.DataFrame:
    """The events that are choices, as the module's docstring says."""
    return interactions.events if interactions.schema.of("value", "event") else interactions.positives


def sequences(interactions: Interactions, wanted: Wanted) -> SequenceData:
    """The view. Raises ValueError naming what of `NEEDS` is missing, and for a senseless `wanted.max_length`."""
    if wanted.max_length < 1:
        raise ValueError(f"max_length is {wanted.max_length}; it must be at least 1")
    require(interactions, TASK, NEEDS)
    users, items = _in_order(interactions)
    user_ids, starts, counts = np.unique(users, return_index=True, return_counts=True)
    ends, tested = starts + counts, np.flatnonzero(counts > HELD_OUT)
    trained = np.where(counts > HELD_OUT, ends - HELD_OUT, ends)
    rows, borders = _training_windows(starts, trained, wanted.max_length)
    validated = np.sort(tested[np.random.default_rng(0).permutation(len(tested))[:MAX_VALIDATION]])

    trains = np.arange(len(items)) < np.repeat(trained, counts)
    train_counts = np.bincount(items[trains], minlength=size_of(interactions.schema.key("item")))

    def held_out(chosen: np.ndarray, back: int) -> SequenceSplit:
        end = ends[chosen] - back
        first = np.maximum(starts[chosen], end - wanted.max_length - 1)
        return SequenceSplit(items, user_ids[chosen], np.stack([first, end], axis=1), "last", train_counts)

    return SequenceData(
        interactions=interactions,
        schema=_schema(interactions, wanted),
        train=SequenceSplit(items, user_ids[rows], borders, "all", train_counts),
        validation=held_out(validated, 1),
        test=held_out(tested, 0),
        user_ids=user_ids,
        sequences=np.split(items, starts[1:]),
        train_item_counts=train_counts,
        given=wanted.given,
    )


def _schema(interactions: Interactions, wanted: Wanted) -> Schema:
    if CONTENT not in wanted.reads or interactions.load_content is None:
        return interactions.schema
    widths = {name: part.shape[1] for name, part in interactions.content._asdict().items()}
    return with_vectors(interactions.schema, widths)


def _is_long_enough(interactions: Interactions) -> bool:
    return bool((choices(interactions)["user"].value_counts()["count"] > HELD_OUT).any())


NEEDS = (
    USERS,
    ITEMS,
    MOMENT,
    Need(f"a user who chose {HELD_OUT + 1} items", _is_long_enough, "longer histories: the last two test and validate"),
)


def _in_order(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Users and items int64 [E] of all choices, as `by_user`."""
    schema, events = interactions.schema, choices(interactions)
    order = by_user(events)
    user, item = (events[name].to_numpy()[order] for name in ("user", "item"))
    return user, table_rows(f"{schema.dataset}: item", item, size_of(schema.key("item")))


def _training_windows(starts: np.ndarray, ends: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Users' rows [R] and borders [R, 2] of windows that share out the targets, at most `max_length` each.

    A window's first item is the target of the window before; a user with a single item trains nothing.
    """
    windows = [
        (row, max(int(start), last - max_length - 1), last)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True))
        for last in range(int(end), int(start) + 1, -max_length)
    ]
    rows, first, last = np.array(windows, np.int64).reshape(-1, 3).T
    return rows, np.stack([first, last], axis=1)
