"""Interactions: the canonical form of any data set.

A data set says who met what, when, and what came of it; tasks are views of it (`training.system.Task.view`). Users and
items have dense ids from 1, 0 is unknown; raw ids, of any int64 or string, are mapped to them once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float32

from serving.ids import IdMap
from training.schema import UNKNOWN, Role, Schema, size_of

Report = Callable[[str], None]
"""Gets one line for each thing that a person would want to know."""


RawId = int | str
"""As a team's tables and clients name a user or an item."""


class Content(NamedTuple):
    """What is known of the items beside who chose them, as vectors. Row 0 is zeros."""

    text: Float32[np.ndarray, "N+1 384"]
    """Sentence vectors of titles or keywords, of norm 1."""
    graph: Float32[np.ndarray, "N+1 G"]
    """The second modality: attributes or a knowledge graph, TF-IDF reduced by a truncated SVD, of norm 1; zeros where
    an item has none."""


def moments_of(events: pl.DataFrame) -> list[np.ndarray]:
    """What orders events, [E] each: their time, and within it their order, whichever of them there is."""
    return [events[name].to_numpy() for name in ("time", "order") if name in events.columns]


def by_user(events: pl.DataFrame) -> np.ndarray:
    """int64 [E]: places of the events by (user, time, order, published row): the one order of a user's events, in
    training, in a request and in the traffic of a load test."""
    # lexsort is stable: what is equal keeps the published order.
    return np.lexsort((*moments_of(events)[::-1], events["user"].to_numpy()))


def of_user(events: pl.DataFrame, user: int) -> pl.DataFrame:
    """A user's events, oldest first."""
    own = events.filter(pl.col("user") == user)
    return own[by_user(own)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Interactions:
    """A data set in its canonical form."""

    schema: Schema
    events: pl.DataFrame
    """One row for each event, in the published order. `user` and `item` int64 dense ids; where the schema has such a
    use, `time` int64, `order` int64, `label` float32 (0 or 1), `value` and `part` int64 (ids of the field); further
    event fields by name. A user field that changes with time has a column here too, as it was before the event. A
    simulation adds `probability` float64, that of a label of 1; the schema has no such field, so that no model reads
    it."""
    users: pl.DataFrame
    """Row r is the user with dense id r, row 0 the unknown one. One column for each user field but the key, as it is
    after all events: id int64, dense float32 (NaN where it is missing), multi list[int64], text string."""
    items: pl.DataFrame
    """As `users`, of the items. `title` string, where there are titles."""
    licence: str
    load_content: Callable[[], Content] | None = None
    ids: Mapping[Role, IdMap] = field(default_factory=dict)
    """Raw ids of users and of items, where they are other than the dense ones."""
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Published arrays that belong to the items, row 0 zeros: semantic ids."""
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What a simulation alone knows of its users, by dense id: `ability` float64 [S + 1, C + 1] of each concept as the
    next event would find it, `mode` int64 [S + 1]. Models are measured by it and never read it."""

    @cached_property
    def content(self) -> Content:
        """Computed, or read from the cache, when first asked for. Raises ValueError where items have no content."""
        if self.load_content is None:
            raise ValueError(f"{self.name} knows no text of its items; give items a field of kind text")
        return self.load_content()

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.schema.dataset

    @property
    def titles(self) -> list[str]:
        """Title of each item by dense id; "item <raw id>" where there are none."""
        if "title" in self.items.columns:
            return self.items["title"].to_list()
        numbers = range(1, len(self.items))
        return [UNKNOWN, *(f"item {raw}" for raw in (self.ids["item"].ids if "item" in self.ids else numbers))]

    def raw(self, role: Role, dense: int) -> RawId:
        """The raw id of a user or an item; of 0 one that nobody has."""
        return self.raws(role, np.array([dense]))[0]

    def raws(self, role: Role, dense: np.ndarray) -> list[RawId]:
        """The raw ids of many, in order."""
        return (self.ids[role].raw(dense) if role in self.ids else dense).tolist()

    def dense(self, role: Role, raw: RawId) -> int:
        """The dense id of a user or an item; 0 for one that is unknown."""
        if role in self.ids:
            return int(self.ids[role].dense(np.array([raw], dtype=object))[0])
        return int(raw) if 0 < int(raw) < size_of(self.schema.key(role)) else 0

    def has_text_ids(self, role: Role) -> bool:
        """Whether the raw ids are text; else they are whole numbers."""
        return role in self.ids and self.ids[role].kind == "string"

    def named(self, role: Role, text: str) -> RawId:
        """The raw id that a person wrote. Raises ValueError for what is no id of this data set's kind."""
        if self.has_text_ids(role):
            return text
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"'{text}' is no {role} id of {self.name}: its ids are whole numbers") from None
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"{role} id {text} is no whole number of 64 bits, {-(2**63)} to {2**63 - 1}")
        return number

    @property
    def remembered(self) -> pl.DataFrame:
        """The events of which histories consist: all where events have values, else the positive ones."""
        return self.events if "value" in self.events.columns else self.positives

    @property
    def positives(self) -> pl.DataFrame:
        """The events with a label above 0; all where there are no labels."""
        return self.events.filter(pl.col("label") > 0) if "label" in self.events.columns else self.events


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A source of interactions."""

    name: str
    what: str
    """One line for people."""
    licence: str
    read: Callable[[Path | None, Report], Interactions]
    """(cache, or the default one; report) -> the set; fetched first where it is not cached."""
    read_until: Callable[[Path | None, Report, str], Interactions] | None = None
    """(as `read`; a day, YYYY-MM-DD) -> the set as its events before the day make it, ids and codes too. None where ids
    are those of a published catalogue: the events alone are cut then."""


def silent(_line: str) -> None:
    """A report that nobody reads."""
