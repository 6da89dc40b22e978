"""Data sets with planted structure for DEA's experiments: labels of pairs alone, and fields rich in directions.

Legend: N samples, U users, I items, Fu and Fi fields of a side.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from training.data.click import FEATURES, ClickData, click_data
from training.interactions import Interactions
from training.schema import Field, Role, Schema
from training.system import Wanted

NOISE = 0.1
"""Share of the pair set's labels that are turned around."""
COLLAPSED = "brand"
USER_COLUMN, ITEM_COLUMN = 0, 2
"""Of the pair set's fields."""
_PAIR_IDS = 40
_EVENT_FIELDS = (
    Field(name="time", role="event", kind="dense", uses=("time",)),
    Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
)

Chance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(fields of users [N, Fu], of items [N, Fi]) -> probability of a positive label [N]."""


class Side(NamedTuple):
    """Users, or items."""

    role: Role
    names: tuple[str, ...]
    """Of the fields, the key's first."""
    ids: np.ndarray
    """int64 [U + 1, Fu] or [I + 1, Fi]; row 0 zeros, the first column the number of the row."""
    sizes: tuple[int, ...]
    """Ids of each field beside 0."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Those of the schema."""
        key, *others = (
            Field(name=name, role=self.role, kind="id", cardinality=size + 1)
            for name, size in zip(self.names, self.sizes, strict=True)
        )
        return replace(key, uses=("key",)), *others

    @property
    def frame(self) -> pl.DataFrame:
        """One column for each field but the key."""
        return pl.DataFrame(self.ids[:, 1:], schema=list(self.names[1:]))


def planted(users: Side, items: Side, chance: Chance, num: int) -> ClickData:
    """`num` samples of random users and items; all else follows from their fields."""
    random = np.random.default_rng(0)
    user, item = (random.integers(1, len(side.ids), num) for side in (users, items))
    positive = random.random(num) < chance(users.ids[user], items.ids[item])
    interactions = Interactions(
        schema=Schema(dataset="planted", fields=(*users.fields, *items.fields, *_EVENT_FIELDS)),
        events=pl.DataFrame({"user": user, "item": item, "time": np.arange(num), "label": positive.astype(np.float32)}),
        users=users.frame,
        items=items.frame,
        licence="made up by recserve",
    )
    return click_data(interactions, Wanted(frozenset({FEATURES}), 1, {}))


def liked_pairs(seed: int = 0) -> np.ndarray:
    """bool [user_id, item_id]: the random table behind `pair_data`."""
    return np.random.default_rng([seed, 0]).random((_PAIR_IDS + 1, _PAIR_IDS + 1)) < 0.5


def pair_data(seed: int = 0, *, num: int = 20_000) -> ClickData:
    """Labels that follow from the pair (user_id, item_id) alone, by a random table; two more fields say nothing."""
    random = np.random.default_rng([seed, 1])
    liked = liked_pairs(seed)
    users = _side(random, "user", ("user_id", "group"), (_PAIR_IDS, 4))
    items = _side(random, "item", ("item_id", "kind"), (_PAIR_IDS, 4))

    def chance(of_users: np.ndarray, of_items: np.ndarray) -> np.ndarray:
        return np.where(liked[of_users[:, 0], of_items[:, 0]], 1 - NOISE, NOISE)

    return planted(users, items, chance, num)


def collapse_data(seed: int = 0, *, num: int = 20_000) -> ClickData:
    """Six fields that all meet in eight directions of taste: logit = sum of z_i . z_j over pairs of fields."""
    random = np.random.default_rng([seed, 2])
    sizes = (60, 40, 30)
    users = _side(random, "user", ("user_id", "city", "age"), sizes)
    items = _side(random, "item", ("item_id", COLLAPSED, "kind"), sizes)
    tastes = [random.normal(0, 0.35, (size + 1, 8)) for size in (*sizes, *sizes)]

    def chance(of_users: np.ndarray, of_items: np.ndarray) -> np.ndarray:
        columns = np.concatenate([of_users, of_items], axis=1).T
        z = np.stack([taste[column] for taste, column in zip(tastes, columns, strict=True)])  # (F, N, 8)
        logit = (z.sum(0) ** 2 - (z**2).sum(0)).sum(1) / 2
        return 1 / (1 + np.exp(-2 * logit))

    return planted(users, items, chance, num)


def _side(random: np.random.Generator, role: Role, names: tuple[str, ...], sizes: tuple[int, ...]) -> Side:
    """Random ids of a side's fields, but for the key."""
    ids = np.stack([random.integers(1, size + 1, sizes[0] + 1) for size in sizes], axis=1)
    ids[:, 0] = np.arange(len(ids))
    ids[0] = 0
    return Side(role, names, ids, sizes)
