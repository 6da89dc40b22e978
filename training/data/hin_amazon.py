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
from training.data.following import user_side as followed
from training.interactions import Dataset, Interactions, Report
from training.schema import Field, Follows, Schema, Use

POSITIVE_RATING = 4
"""Ratings from this one on are positive labels."""
_MAX_RATING = 5


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
        items=items,
        licence=ORIGINS["hin-amazon"].licence,
    )


def user_side(events: pl.DataFrame, category_of: np.ndarray) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the user rated last: before each event, in the events' order, and after all, by user, 0 being somebody whom
    nobody has seen. `category_of` int64 [I + 1] by item."""
    return followed(events, _rules(category_of), {"item_id": np.arange(len(category_of)), "category_set": category_of})


def _rules(category_of: np.ndarray) -> dict[str, Follows]:
    """That there is none yet has the id after the last."""
    no_item, no_category = len(category_of), int(category_of.max()) + 1
    return {
        "last_item": Follows(field="item_id", none=no_item),
        "last_category": Follows(field="category_set", none=no_category),
        "last_liked": Follows(field="item_id", none=no_item, least=POSITIVE_RATING),
    }


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
    sizes = {"last_item": (with_none, None), "last_category": (len(before), before), "last_liked": (with_none, None)}
    rules = _rules(items["category_set"].to_numpy())
    return Schema(
        dataset="hin-amazon",
        fields=(
            Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=len(users)),
            *(
                Field(
                    name=name,
                    role="user",
                    kind="id",
                    uses=only_feature,
                    cardinality=size,
                    values=values,
                    follows=rules[name],
                )
                for name, (size, values) in sizes.items()
            ),
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
