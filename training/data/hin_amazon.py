"""Amazon ratings with brand, category and view: 6,170 users, 2,753 items, 1998 to 2014.

Published for recommendation over heterogeneous networks (`training.data.hin_amazon_files`). Half of the items have at
most 53 ratings; three in four samples of the test part of a split by time are of users whom training hardly saw.

Event: one rating; value 1 to 5, label 1 where it is 4 or 5. Times are whole days, so the ratings of one day share a
time and none is another's past.

Ids: the published ones plus 1; 0 is "unknown". That there is none yet, or none listed, is known: it has the last id.

Fields of the user, from the user's ratings of strictly earlier days (our design): `last_item` and its `last_category`,
and `last_liked`, the last item rated 4 or 5. They change with time. Of one day's ratings the later row of the file
counts as the last. Of the item: `brand`, `category_set` (the item's whole set of categories as one, since the first
listed is the same for 99 % of them) and `view` (the first listed).
"""

from pathlib import Path

import numpy as np
import polars as pl

from training.data.encode import encode
from training.data.fetch import ORIGINS, fetch
from training.data.log import Log
from training.interactions import Dataset, Interactions, Report
from training.schema import UNKNOWN, Field, Schema, Use

POSITIVE_RATING = 4
"""Ratings from this one on are positive labels."""
_MAX_RATING = 5
_BEFORE = ("last_item", "last_category", "last_liked")


def read(cache: Path | None, report: Report) -> Interactions:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch("hin-amazon", cache, report)
    ratings, brand, category, view = (
        pl.read_parquet(folder / f"{name}.parquet") for name in ("ratings", "brand", "category", "view")
    )
    items, sets = _items(int(ratings["item"].to_numpy().max()) + 1, brand, category, view)
    events = ratings.select(
        user=pl.col("user") + 1,
        item=pl.col("item") + 1,
        time="timestamp",
        value=pl.col("rating").cast(pl.Int64),
        label=(pl.col("rating") >= POSITIVE_RATING).cast(pl.Float32),
    )
    before, after = user_side(events, items["category_set"].to_numpy())
    return Interactions(
        schema=_schema(after, items, sets),
        events=events.with_columns(before),
        users=after,
        items=items.with_columns(title=pl.Series([UNKNOWN, *(f"item {item}" for item in range(len(items) - 1))])),
        licence=ORIGINS["hin-amazon"].licence,
    )


def user_side(events: pl.DataFrame, category_of: np.ndarray) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the user rated last: before each event, in the events' order, and after all, by user, 0 being somebody whom
    nobody has seen. `category_of` int64 [I + 1] by item."""
    log = Log(events)
    users = np.arange(int(log.user.max()) + 1)
    starts, ends = (np.searchsorted(log.user, users, side) for side in ("left", "right"))
    before = np.empty((len(log), len(_BEFORE)), np.int64)
    before[log.row] = _last(log, category_of, log.past_start, log.past_end)
    after = _last(log, category_of, starts, ends)
    return pl.DataFrame(before, schema=list(_BEFORE)), pl.DataFrame(after, schema=list(_BEFORE))


def _last(log: Log, category_of: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """last_item, last_category, last_liked int64 [len, 3] over each user's events [start, end)."""
    none = len(category_of)
    categories = np.append(category_of, category_of.max() + 1)
    places = np.arange(len(log))
    liked = np.maximum.accumulate(np.where(log.label > 0, places, -1))
    last_item = np.where(ends > starts, log.item[ends - 1], none)
    last_liked = np.where((ends > starts) & (liked[ends - 1] >= starts), log.item[liked[ends - 1]], none)
    return np.stack([last_item, categories[last_item], last_liked], axis=1)


def _items(
    last: int, brand: pl.DataFrame, category: pl.DataFrame, view: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """brand, category_set and view by item, row 0 zeros; and the names of the sets."""
    columns = {name: np.zeros(last + 1, np.int64) for name in ("brand", "category_set", "view")}
    for table, name in ((brand, "brand"), (view, "view")):
        first = table.group_by("item", maintain_order=True).first()
        columns[name][1:] = table[name].to_numpy().max() + 2  # none listed
        columns[name][first["item"].to_numpy() + 1] = first[name].to_numpy() + 1
    sets = category.group_by("item", maintain_order=True).agg(pl.col("category").sort())
    ids, names = encode([" ".join(map(str, values)) for values in sets["category"]])
    columns["category_set"][sets["item"].to_numpy() + 1] = ids
    return pl.DataFrame(columns), names


def _schema(users: pl.DataFrame, items: pl.DataFrame, sets: tuple[str, ...]) -> Schema:
    with_none, before = len(items) + 1, (*sets, "none yet")
    num_brands, num_views = (int(items[name].to_numpy().max()) + 1 for name in ("brand", "view"))
    # A model that reads the history has no need of what came last in it.
    only_feature: tuple[Use, ...] = ("feature",)
    return Schema(
        dataset="hin-amazon",
        fields=(
            Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=len(users)),
            Field(name="last_item", role="user", kind="id", uses=only_feature, cardinality=with_none),
            Field(
                name="last_category", role="user", kind="id", uses=only_feature, cardinality=len(before), values=before
            ),
            Field(name="last_liked", role="user", kind="id", uses=only_feature, cardinality=with_none),
            Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=len(items)),
            Field(name="brand", role="item", kind="id", cardinality=num_brands),
            Field(
                name="category_set",
                role="item",
                kind="id",
                uses=("feature", "profile", "category"),
                cardinality=len(sets),
                values=sets,
            ),
            Field(name="view", role="item", kind="id", cardinality=num_views),
            Field(name="time", role="event", kind="dense", uses=("time",)),
            Field(name="rating", role="event", kind="id", uses=("value",), cardinality=_MAX_RATING + 1),
            Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
        ),
    )


DATASET = Dataset(
    name="hin-amazon",
    what="Amazon ratings with brand, category and view: 195,791 by 6,170 users",
    licence=ORIGINS["hin-amazon"].licence,
    read=read,
)
