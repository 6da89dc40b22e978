"""Amazon ratings with brand, category and view, as rows of categorical fields: 6,170 users, 2,753 items, 1998 to 2014.

Published for recommendation over heterogeneous networks (`training.data.hin_amazon_files`). Half of the items have at
most 53 ratings; three in four samples of the test part are of users whom training hardly saw.

Protocol: sample, label and parts as in `training.data.movielens`: 156,640, 19,589 and 19,562 samples. Times are whole
days, so the ratings of one day share a timestamp and none is another's past.

Ids: the published ones plus 1; 0 is "unknown". That there is none yet, or none listed, is known: it has the last id.

Fields of the user, from the user's ratings of strictly earlier days (our design): `user_id`, `last_item` and its
`last_category`, and `last_liked`, the last item rated 4 or 5. Of one day's ratings the later row of the file counts as
the last. Of the item: `item_id`, `brand`, `category` (the item's whole set of categories as one, since the first
listed is the same for 99 % of them) and `view` (the first listed).
"""

from pathlib import Path

import numpy as np
import polars as pl

from training.data.fetch import Report, fetch, silent
from training.data.fields import FieldData, UserSide, encode, split_fields
from training.data.ranking import POSITIVE_RATING, Events
from training.schema import Field, Schema

_CATEGORY = 2
"""The column of `category` in the item's fields."""


def load(cache: Path | None = None, report: Report = silent) -> FieldData:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch("hin-amazon", cache, report)
    ratings, brand, category, view = (
        pl.read_parquet(folder / f"{name}.parquet") for name in ("ratings", "brand", "category", "view")
    )
    events = Events(ratings.with_columns(pl.col("user") + 1, pl.col("item") + 1))
    items, categories = _items(int(events.item.max()), brand, category, view)
    titles = {item: f"item {item - 1}" for item in range(1, len(items))}
    return split_fields(_schema(events, items, categories), events, user_side(events, items), items, titles)


def user_side(events: Events, items: np.ndarray) -> UserSide:
    """What the user rated last: before each event, after all, and of a user whom nobody has seen; `items` int64
    [I + 1, Fi] by raw item id."""
    users, starts, counts = np.unique(events.user, return_index=True, return_counts=True)
    nobody, nothing = np.zeros(1, np.int64), np.zeros(1, np.int64)
    return UserSide(
        at_event=_last(events, items, events.user, events.past_start, events.past_end),
        now=_last(events, items, users, starts, starts + counts),
        new=_last(events, items, nobody, nothing, nothing)[0],
    )


def _last(events: Events, items: np.ndarray, users: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """user_id, last_item, last_category, last_liked int64 [len, 4] over each user's events [start, end)."""
    none = len(items)
    categories = np.append(items[:, _CATEGORY], items[:, _CATEGORY].max() + 1)
    places = np.arange(len(events))
    liked = np.maximum.accumulate(np.where(events.rating >= POSITIVE_RATING, places, -1))
    last_item = np.where(ends > starts, events.item[ends - 1], none)
    last_liked = np.where((ends > starts) & (liked[ends - 1] >= starts), events.item[liked[ends - 1]], none)
    return np.stack([users, last_item, categories[last_item], last_liked], axis=1)


def _items(
    last: int, brand: pl.DataFrame, category: pl.DataFrame, view: pl.DataFrame
) -> tuple[np.ndarray, tuple[str, ...]]:
    """item_id, brand, category, view int64 [last + 1, 4] by raw id, row 0 zeros; and the names of the categories."""
    rows = np.zeros((last + 1, 4), np.int64)
    rows[:, 0] = np.arange(last + 1)
    for column, table, name in ((1, brand, "brand"), (3, view, "view")):
        first = table.group_by("item", maintain_order=True).first()
        rows[1:, column] = table[name].to_numpy().max() + 2  # none listed
        rows[first["item"].to_numpy() + 1, column] = first[name].to_numpy() + 1
    sets = category.group_by("item", maintain_order=True).agg(pl.col("category").sort())
    ids, names = encode([" ".join(map(str, values)) for values in sets["category"]])
    rows[sets["item"].to_numpy() + 1, _CATEGORY] = ids
    return rows, names


def _schema(events: Events, items: np.ndarray, categories: tuple[str, ...]) -> Schema:
    with_none = len(items) + 1
    before = (*categories, "none yet")
    num_users, num_brands, num_views = (int(ids.max()) + 1 for ids in (events.user, items[:, 1], items[:, 3]))
    return Schema(
        dataset="hin-amazon",
        fields=(
            Field(name="user_id", kind="id", cardinality=num_users, side="user"),
            Field(name="last_item", kind="id", cardinality=with_none, side="user"),
            Field(name="last_category", kind="id", cardinality=len(before), values=before, side="user"),
            Field(name="last_liked", kind="id", cardinality=with_none, side="user"),
            Field(name="item_id", kind="id", cardinality=len(items), side="item"),
            Field(name="brand", kind="id", cardinality=num_brands, side="item"),
            Field(name="category", kind="id", cardinality=len(categories), values=categories, side="item"),
            Field(name="view", kind="id", cardinality=num_views, side="item"),
        ),
    )
