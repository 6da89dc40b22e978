"""Data sets with planted structure for DEA's experiments: labels of pairs alone, and fields rich in directions.

Legend: N samples, U users, I items, Fu and Fi fields of a side.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import polars as pl

from training.data.fields import FieldData, UserSide, split_fields
from training.data.ranking import Events
from training.schema import Field, Schema

NOISE = 0.1
"""Share of the pair set's labels that are turned around."""
COLLAPSED = "brand"
USER_COLUMN, ITEM_COLUMN = 0, 2
"""Of the pair set's fields."""
_PAIR_IDS = 40
_Name = tuple[str, int, Literal["user", "item"]]
"""A field's name, number of ids, and side."""

Chance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(fields of users [N, Fu], of items [N, Fi]) -> probability of a positive label [N]."""


def planted_fields(
    fields: tuple[Field, ...], tables: tuple[np.ndarray, np.ndarray], chance: Chance, num: int
) -> FieldData:
    """`num` samples of random users and items; all else follows from `tables`, int64 [U + 1, Fu] and [I + 1, Fi]."""
    random = np.random.default_rng(0)
    users, items = tables
    user, item = (random.integers(1, len(table), num) for table in tables)
    positive = random.random(num) < chance(users[user], items[item])
    ratings = {"user": user, "item": item, "rating": np.where(positive, 5, 1), "timestamp": np.arange(num)}
    events = Events(pl.DataFrame(ratings))
    side = UserSide(users[events.user], users[np.unique(events.user)])
    titles = {number: f"item {number}" for number in range(1, len(items))}
    return split_fields(Schema(dataset="planted", fields=fields), events, side, items, titles)


def liked_pairs(seed: int = 0) -> np.ndarray:
    """bool [user_id, item_id]: the random table behind `pair_data`."""
    return np.random.default_rng([seed, 0]).random((_PAIR_IDS + 1, _PAIR_IDS + 1)) < 0.5


def pair_data(seed: int = 0, *, num: int = 20_000) -> FieldData:
    """Labels that follow from the pair (user_id, item_id) alone, by a random table; two more fields say nothing."""
    random = np.random.default_rng([seed, 1])
    liked = liked_pairs(seed)
    tables = _ids(random, (_PAIR_IDS, 4)), _ids(random, (_PAIR_IDS, 4))

    def chance(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.where(liked[users[:, 0], items[:, 0]], 1 - NOISE, NOISE)

    names: tuple[_Name, ...] = (
        ("user_id", _PAIR_IDS, "user"),
        ("group", 4, "user"),
        ("item_id", _PAIR_IDS, "item"),
        ("kind", 4, "item"),
    )
    return planted_fields(_fields(names), tables, chance, num)


def collapse_data(seed: int = 0, *, num: int = 20_000) -> FieldData:
    """Six fields that all meet in eight directions of taste: logit = sum of z_i . z_j over pairs of fields."""
    random = np.random.default_rng([seed, 2])
    sizes = (60, 40, 30)
    tables = _ids(random, sizes), _ids(random, sizes)
    tastes = [random.normal(0, 0.35, (size + 1, 8)) for size in (*sizes, *sizes)]

    def chance(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        columns = np.concatenate([users, items], axis=1).T
        z = np.stack([taste[column] for taste, column in zip(tastes, columns, strict=True)])  # (F, N, 8)
        logit = (z.sum(0) ** 2 - (z**2).sum(0)).sum(1) / 2
        return 1 / (1 + np.exp(-2 * logit))

    user_side: tuple[_Name, ...] = (("user_id", 60, "user"), ("city", 40, "user"), ("age", 30, "user"))
    item_side: tuple[_Name, ...] = (("item_id", 60, "item"), (COLLAPSED, 40, "item"), ("kind", 30, "item"))
    return planted_fields(_fields((*user_side, *item_side)), tables, chance, num)


def _ids(random: np.random.Generator, sizes: tuple[int, ...]) -> np.ndarray:
    """Ids of a side's fields, the first its own: int64 [sizes[0] + 1, len(sizes)], row 0 zeros."""
    table = np.stack([random.integers(1, size + 1, sizes[0] + 1) for size in sizes], axis=1)
    table[:, 0] = np.arange(len(table))
    table[0] = 0
    return table


def _fields(names: tuple[_Name, ...]) -> tuple[Field, ...]:
    return tuple(Field(name=name, kind="id", cardinality=size + 1, side=side) for name, size, side in names)
