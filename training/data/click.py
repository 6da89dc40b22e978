"""Click prediction: will this user take this item, given what was known before.

Protocol
- Sample: one event with its label.
- Split: all events in the order of (time, published row). Train is the first 80 %, validation the next 10 %, test the
  last 10 %. Where a border falls among events of one time, all of them go to the earlier part, so that every time of a
  part is smaller than every time of the next.
- History of a sample: the same user's events with a strictly smaller time, newest first (of one time: the later row
  first), at most `max_length`. In validation and test it includes events of earlier parts and of the same part: they
  lie in the target's past. Where events have values (ratings), all of them are history, with their value; else the
  positive ones are.
- Fitting: weights and statistics come from train alone; validation chooses the epoch; test is measured once at the end.
  A user or an item absent from train is a cold start, and is not removed.

Axes: B samples of a batch, L history, U users, I items; F, Fd, S as in `training.data.columns`, P likewise for
profiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.data.columns import Columns, Layout, columns, feature_layout, profile_layout
from training.data.log import Log, parts_by_time
from training.data.scenario import Scenario, num_scenarios, scenario_of
from training.data.sides import Sides, at_moment, sides
from training.data.statistics import Statistics, measured
from training.interactions import Interactions
from training.needs import ITEMS, LABEL, TIME, USERS, require
from training.schema import Field, Schema
from training.system import Wanted

FEATURES, HISTORY, AGES, WHO = "features", "history", "ages", "who"
"""Parts of the view that a system reads: rows of fields; the past, with a profile of the user; when it was; which user
it is."""
NEEDS = (USERS, ITEMS, TIME, LABEL)


class ClickBatch(NamedTuple):
    """Samples: who, what, what was known before, and what came of it. Parts that nobody reads have width 0."""

    user: Int64[Tensor, " B"]
    item: Int64[Tensor, " B"]
    ids: Int64[Tensor, "B F"]
    """Features: the user's fields, the event's, the item's. As the data set has them; which of them an embedding knows
    is the embedding's matter."""
    dense: Float32[Tensor, "B Fd"]
    sets: Int64[Tensor, "B S"]
    profile: Int64[Tensor, "B P"]
    """The user's and the event's fields that describe them, beside their history."""
    profile_dense: Float32[Tensor, "B Pd"]
    profile_sets: Int64[Tensor, "B Ps"]
    history_items: Int64[Tensor, "B L"]
    """Most recent first, 0 beyond the length. L is the longest history of the batch, at least 1."""
    history_values: Int64[Tensor, "B L"]
    history_ages: Int64[Tensor, "B L"]
    """How much older than the newest event of the history each is, in the data set's unit of time: what a served
    request knows without a clock. Width 0 where nobody reads it."""
    history_length: Int64[Tensor, " B"]
    label: Float32[Tensor, " B"]
    scenario: Int64[Tensor, " B"]
    """The event's, or where events do not say it the item's; 0 is unknown."""


class Source(NamedTuple):
    """What batches are made of."""

    interactions: Interactions
    log: Log
    features: Sides
    """All fields that are features; of no fields where nobody reads them."""
    profile: Sides
    """The user's and the event's fields for a profile, no items'; of no fields where nobody reads a history."""
    scenario: Scenario
    item_counts: np.ndarray
    """int64 [I + 1]: training events of each item."""
    user_counts: np.ndarray
    """int64 [U + 1, S]: training events of each user in each scenario, the unknown one first."""
    reads: frozenset[str]
    max_length: int

    def counted(self, places: np.ndarray) -> "Source":
        """With these events as the training part's."""
        item, scenes = self.log.item[places], self.user_counts.shape[1]
        scenario = self.scenario.of(places, item)
        cells = self.log.user[places] * scenes + np.where((scenario >= 0) & (scenario < scenes), scenario, 0)
        return self._replace(
            item_counts=np.bincount(item, minlength=len(self.item_counts)),
            user_counts=np.bincount(cells, minlength=self.user_counts.size).reshape(-1, scenes),
        )


class ClickSplit:
    """Samples in the order of (time, published row). Implements `training.system.Split`."""

    def __init__(self, source: Source, places: np.ndarray) -> None:
        """`places` int64 [len] are the samples among the events."""
        self.source, self.places = source, places
        log = source.log
        self.user: np.ndarray = log.user[places]
        """int64 [len]"""
        self.label: np.ndarray = log.label[places]
        """float32 [len], 0 or 1"""
        self.time: np.ndarray = log.time[places]
        """int64 [len]"""
        starts, self._ends = log.past(places)
        self._lengths = np.minimum(self._ends - starts, source.max_length)

    def __len__(self) -> int:
        return len(self.places)

    def cost(self) -> np.ndarray:
        """int64 [len]: the length of each sample's history, where it is read; else ones."""
        return self._lengths if HISTORY in self.source.reads else np.ones(len(self), np.int64)

    def features(self, rows: np.ndarray) -> Columns:
        """Fields of the samples with these numbers, as a batch has them."""
        places = self.places[rows]
        log = self.source.log
        return self.source.features.of(places, log.user[places], log.item[places])

    def profiles(self, rows: np.ndarray) -> Columns:
        """Profile fields of the users of the samples with these numbers, as a batch has them."""
        places = self.places[rows]
        log = self.source.log
        return self.source.profile.of(places, log.user[places], log.item[places])

    def batch(self, rows: np.ndarray) -> ClickBatch:
        """The samples with these numbers, in this order; at least one."""
        source, places = self.source, self.places[rows]
        user, item = source.log.user[places], source.log.item[places]
        lengths = self._lengths[rows] if HISTORY in source.reads else np.zeros(len(rows), np.int64)
        ends, width = self._ends[rows], max(1, int(lengths.max()))
        parts = (
            user,
            item,
            *source.features.of(places, user, item),
            *source.profile.of(places, user, item),
            *source.log.windows(ends, lengths, width),
            source.log.ages(ends, lengths, width if AGES in source.reads else 0),
            lengths,
            self.label[rows],
            source.scenario.of(places, item),
        )
        return ClickBatch(*map(torch.from_numpy, parts))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClickData:
    """Implements `training.system.Data`."""

    source: Source
    train: ClickSplit
    validation: ClickSplit
    test: ClickSplit
    item_profile: Columns
    """The items' fields for a profile, by dense id."""
    given: Mapping[str, Tensor]
    """What other systems' runs gave, as `Wanted.given`."""

    @property
    def schema(self) -> Schema:
        return self.source.interactions.schema

    @property
    def interactions(self) -> Interactions:
        return self.source.interactions

    @property
    def log(self) -> Log:
        return self.source.log

    @property
    def features(self) -> Sides:
        return self.source.features

    @property
    def profile(self) -> Sides:
        return self.source.profile

    @property
    def reads(self) -> frozenset[str]:
        return self.source.reads

    @property
    def max_length(self) -> int:
        return self.source.max_length

    @property
    def train_item_counts(self) -> np.ndarray:
        """int64 [I + 1]: training events of each item."""
        return self.source.item_counts

    @cached_property
    def statistics(self) -> Statistics:
        """Of the training part's features."""
        return measured(self.features.layout, self.train.features, len(self.train))

    def histories(self) -> dict[str, np.ndarray]:
        """What serving starts from, after all events: one row for each user by dense id, that of the unknown first.

        `history_items`, `history_values` and, where they are read, `history_ages` int64 [U + 1, max_length] newest
        first, `history_length` int64 [U + 1, 1].
        """
        users = np.arange(len(self.interactions.users))
        starts, ends = self.log.all_of(users)
        lengths = np.minimum(ends - starts, self.max_length)
        items, values = self.log.windows(ends, lengths, self.max_length)
        found = {"history_items": items, "history_values": values}
        if AGES in self.reads:
            found["history_ages"] = self.log.ages(ends, lengths, self.max_length)
        return {**found, "history_length": lengths[:, None]}

    @property
    def context(self) -> tuple[Field, ...]:
        """The event's fields that features or profile hold: a request carries them."""
        layouts = self.features.layout, self.profile.layout
        held = {field.name for one in layouts for field in one.of("event").fields}
        return tuple(field for field in self.schema.fields if field.name in held)


def click_data(interactions: Interactions, wanted: Wanted) -> ClickData:
    """The view that the module's docstring describes. Raises ValueError naming what is missing, for `max_length` < 1,
    and for a part that is empty."""
    require(interactions, "click prediction", NEEDS)
    if wanted.max_length < 1:
        raise ValueError(f"max_length is {wanted.max_length}; it must be at least 1")
    log = Log(interactions.events)
    features, profile = feature_layout(interactions.schema), profile_layout(interactions.schema)
    nothing = Layout(())
    parts = parts_by_time(interactions.name, log)
    source = Source(
        interactions=interactions,
        log=log,
        features=sides(interactions, log, features if FEATURES in wanted.reads else nothing),
        profile=sides(interactions, log, profile.of("user", "event") if HISTORY in wanted.reads else nothing),
        scenario=scenario_of(interactions, log),
        item_counts=np.zeros(len(interactions.items), np.int64),
        user_counts=np.zeros((len(interactions.users), num_scenarios(interactions.schema)), np.int64),
        reads=wanted.reads,
        max_length=wanted.max_length,
    ).counted(parts[0])
    train, validation, test = (ClickSplit(source, places) for places in parts)
    return ClickData(
        source=source,
        train=train,
        validation=validation,
        test=test,
        item_profile=columns(interactions.items, profile.of("item")),
        given=wanted.given,
    )


def now(data: ClickData, user: int, items: np.ndarray, moment: Sequence[np.ndarray] = ()) -> ClickBatch:
    """What a request means: one user after all events with each item int64 [B], by dense ids; who or what is unknown is
    0. `moment`: the values of `data.context`, each [1] or, where multi-valued, [w]."""
    interactions = data.interactions
    user = user if 0 <= user < len(interactions.users) else 0
    items = np.where((items >= 0) & (items < len(interactions.items)), items, 0)
    starts, ends = data.log.all_of(np.full(len(items), user))
    lengths = np.minimum(ends - starts, data.max_length if HISTORY in data.reads else 0)
    width = max(1, int(lengths.max(initial=0)))
    values = dict(zip((field.name for field in data.context), moment, strict=True))
    parts = (
        np.full(len(items), user),
        items,
        *at_moment(data.features, user, items, values),
        *at_moment(data.profile, user, items, values),
        *data.log.windows(ends, lengths, width),
        data.log.ages(ends, lengths, width if AGES in data.reads else 0),
        lengths,
        np.zeros(len(items), np.float32),
        data.source.scenario.asked(values, items),
    )
    return ClickBatch(*map(torch.from_numpy, parts))
