"""Small click logs with planted structure: nothing is downloaded, and training takes seconds."""

from collections import Counter

import numpy as np
import polars as pl

from training.data.content import GRAPH_WIDTH, unit_rows
from training.data.movielens import POSITIVE_RATING
from training.data.sentence_vectors import WIDTH
from training.interactions import Content, Dataset, Interactions
from training.schema import Field, Schema

NAME = "planted-clicks"
NUM_CLUSTERS = 4
_RECENT = 5
_NOISE = 0.05
_EVENTS_PER_USER = 32
_VALUES = ("unknown", "a", "b", "c")
_USER_FIELDS = ("age", "gender", "occupation", "region")
_NUM_BRANDS = 6
_MAX_RATING = 5
_EVENT_FIELDS = (
    Field(name="time", role="event", kind="dense", uses=("time",)),
    Field(name="rating", role="event", kind="id", uses=("value",), cardinality=_MAX_RATING + 1),
    Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
)


def planted_clicks(*, num_users: int = 64, num_items: int = 48, seed: int = 0) -> Interactions:
    """Users who like what matches the majority cluster of the last items they liked.

    Each item belongs to one of `NUM_CLUSTERS` clusters, which is its genre, and its text and its graph vector lie near
    those of its cluster. Each user rates 32 items, some within the same second. 5 % of the ratings go against the rule.
    Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    cluster = random.permutation(np.arange(num_items) % NUM_CLUSTERS)
    rows = [row for user in range(1, num_users + 1) for row in _ratings_of(user, cluster, random)]
    user_fields = random.integers(1, len(_VALUES), (num_users + 1, len(_USER_FIELDS)))
    user_fields[0] = 0
    genres = ("none", *(f"cluster {number}" for number in range(NUM_CLUSTERS)))
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=num_users + 1),
        *(Field(name=name, role="user", kind="id", cardinality=len(_VALUES), values=_VALUES) for name in _USER_FIELDS),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=num_items + 1),
        Field(name="genres", role="item", kind="multi", cardinality=len(genres), width=1, values=genres),
    )
    items = pl.DataFrame(
        {"title": _titles(num_items), "genres": [[], *([1 + int(number)] for number in cluster)]},
        schema_overrides={"genres": pl.List(pl.Int64)},
    )
    return Interactions(
        schema=Schema(dataset=NAME, fields=(*fields, *_EVENT_FIELDS)),
        events=_labelled(pl.DataFrame(rows, schema=["user", "item", "value", "time"], orient="row")),
        users=pl.DataFrame(user_fields, schema=list(_USER_FIELDS)),
        items=items,
        licence="made up by recserve",
        load_content=lambda: _content(cluster, seed),
    )


def _content(cluster: np.ndarray, seed: int) -> Content:
    """Vectors of norm 1: of a cluster's items the same direction, and as much of one of their own. The last item has no
    graph vector."""
    random = np.random.default_rng([seed, 1])
    vectors = []
    for width in (WIDTH, GRAPH_WIDTH):
        centres, own = (random.standard_normal((count, width)) for count in (NUM_CLUSTERS, len(cluster)))
        found = unit_rows(unit_rows(centres)[cluster] + unit_rows(own)).astype(np.float32)
        vectors.append(np.concatenate([np.zeros((1, width), np.float32), found]))
    vectors[1][-1] = 0
    return Content(*vectors)


def planted_fields(*, num_users: int = 64, num_items: int = 48, seed: int = 0) -> Interactions:
    """Users who like an item where their group and the item's brand, together, say so.

    Fields user_id, group | item_id, brand, category; the category says nothing. Each user rates 32 items, 5 % of them
    against the rule. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    groups = np.append(0, random.integers(1, len(_VALUES), num_users))
    brands, categories = (np.append(0, random.integers(1, size, num_items)) for size in (_NUM_BRANDS + 1, 4))
    liked = np.argsort(random.random((len(_VALUES), _NUM_BRANDS + 1)), axis=1) < (_NUM_BRANDS + 1) // 2
    user = np.repeat(np.arange(1, num_users + 1), _EVENTS_PER_USER)
    item = random.integers(1, num_items + 1, len(user))
    positive = liked[groups[user], brands[item]] != (random.random(len(user)) < _NOISE)
    value = np.where(positive, POSITIVE_RATING, POSITIVE_RATING - 1)
    time = random.permutation(len(user)) // 2
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=num_users + 1),
        Field(name="group", role="user", kind="id", cardinality=len(_VALUES), values=_VALUES),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=num_items + 1),
        Field(name="brand", role="item", kind="id", cardinality=_NUM_BRANDS + 1),
        Field(name="category", role="item", kind="id", cardinality=4),
    )
    return Interactions(
        schema=Schema(dataset="planted-fields", fields=(*fields, *_EVENT_FIELDS)),
        events=_labelled(pl.DataFrame({"user": user, "item": item, "value": value, "time": time})),
        users=pl.DataFrame({"group": groups}),
        items=pl.DataFrame({"title": _titles(num_items), "brand": brands, "category": categories}),
        licence="made up by recserve",
    )


def _titles(num_items: int) -> list[str]:
    return ["unknown", *(f"Item {number}" for number in range(1, num_items + 1))]


def _labelled(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(label=(pl.col("value") >= POSITIVE_RATING).cast(pl.Float32))


def _ratings_of(user: int, cluster: np.ndarray, random: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """(user, item, rating, timestamp) of one user, oldest first."""
    count = _EVENTS_PER_USER
    times = np.sort(random.integers(0, 4 * count, count))
    items = random.choice(len(cluster), count, replace=len(cluster) < count)
    liked = [int(random.integers(NUM_CLUSTERS))]
    rows = []
    for item, time in zip(items.tolist(), times.tolist(), strict=True):
        taste = Counter(liked[-_RECENT:]).most_common(1)[0][0]
        positive = (cluster[item] == taste) != (random.random() < _NOISE)
        if positive:
            liked.append(int(cluster[item]))
        rating = int(random.integers(POSITIVE_RATING, 6) if positive else random.integers(1, POSITIVE_RATING))
        rows.append((user, item + 1, rating, time))
    return rows


DATASET = Dataset(
    name=NAME,
    what="planted likes of 64 users for 48 items, for first tries",
    licence="none: generated",
    read=lambda _cache, _report: planted_clicks(),
)
