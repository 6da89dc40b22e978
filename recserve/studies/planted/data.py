"""Data sets with planted structure for DEA's experiments: labels of pairs alone, and fields rich in directions.

Legend: N samples, U users, I items, Fu and Fi fields of a side.
"""

from collections.abc import Callable

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
_Name = tuple[str, int, Role]
"""A field's name, number of ids, and role."""

_EVENT_FIELDS = (
    Field(name="time", role="event", kind="dense", uses=("time",)),
    Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
)

Chance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(fields of users [N, Fu], of items [N, Fi]) -> probability of a positive label [N]."""


def planted_fields(
    names: tuple[_Name, ...], tables: tuple[np.ndarray, np.ndarray], chance: Chance, num: int
) -> ClickData:
    """`num` samples of random users and items; all else follows from `tables`, int64 [U + 1, Fu] and [I + 1, Fi]."""
    random = np.random.default_rng(0)
    users, items = tables
    user, item = (random.integers(1, len(table), num) for table in tables)
    positive = random.random(num) < chance(users[user], items[item])
    events = {"user": user, "item": item, "time": np.arange(num), "label": positive.astype(np.float32)}
    of_users, of_items = ([name for name, _, side in names if side == role] for role in ("user", "item"))
    interactions = Interactions(
        schema=Schema(dataset="planted", fields=(*_fields(names), *_EVENT_FIELDS)),
        events=pl.DataFrame(events),
        users=pl.DataFrame(users, schema=of_users),
        items=pl.DataFrame(items, schema=of_items),
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
    tables = _ids(random, (_PAIR_IDS, 4)), _ids(random, (_PAIR_IDS, 4))

    def chance(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.where(liked[users[:, 0], items[:, 0]], 1 - NOISE, NOISE)

    names: tuple[_Name, ...] = (
        ("user_id", _PAIR_IDS, "user"),
        ("group", 4, "user"),
        ("item_id", _PAIR_IDS, "item"),
        ("kind", 4, "item"),
    )
    return planted_fields(names, tables, chance, num)


def collapse_data(seed: int = 0, *, num: int = 20_000) -> ClickData:
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
    return planted_fields((*user_side, *item_side), tables, chance, num)


def _ids(random: np.random.Generator, sizes: tuple[int, ...]) -> np.ndarray:
    """Ids of a side's fields, the first its own: int64 [sizes[0] + 1, len(sizes)], row 0 zeros."""
    table = np.stack([random.integers(1, size + 1, sizes[0] + 1) for size in sizes], axis=1)
    table[:, 0] = np.arange(len(table))
    table[0] = 0
    return table


def _fields(names: tuple[_Name, ...]) -> tuple[Field, ...]:
    """The fields; those called after their role and `_id` are keys."""
    return tuple(
        Field(
            name=name,
            role=role,
            kind="id",
            uses=("key",) if name == f"{role}_id" else ("feature",),
            cardinality=size + 1,
        )
        for name, size, role in names
    )
