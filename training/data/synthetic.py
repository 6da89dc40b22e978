"""A small set with planted structure, for tests that must not download anything."""

from collections import Counter

import numpy as np
import polars as pl

from training.data.fields import FieldData, UserSide, split_fields
from training.data.ranking import POSITIVE_RATING, USER_FIELDS, Catalogue, Events, RankingData, split_by_time
from training.schema import Field, Schema

NUM_CLUSTERS = 4
_RECENT = 5
_NOISE = 0.05
_EVENTS_PER_USER = 32
_FIELD_VALUES = ("unknown", "a", "b", "c")
_NUM_BRANDS = 6


def planted(*, num_users: int = 64, num_items: int = 48, seed: int = 0, max_length: int = 16) -> RankingData:
    """Users who like what matches the majority cluster of the last items they liked, in the form of `movielens.load`.

    Each item belongs to one of `NUM_CLUSTERS` clusters, which is its genre. Each user rates 32 items, some within the
    same second. 5 % of the ratings go against the rule. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    cluster = random.permutation(np.arange(num_items) % NUM_CLUSTERS)
    rows = [row for user in range(1, num_users + 1) for row in _ratings_of(user, cluster, random)]
    item_genres = np.zeros((num_items + 1, NUM_CLUSTERS), np.float32)
    item_genres[np.arange(1, num_items + 1), cluster] = 1.0
    user_fields = random.integers(1, len(_FIELD_VALUES), (num_users + 1, len(USER_FIELDS)))
    user_fields[0] = 0
    catalogue = Catalogue(
        titles={item: f"Item {item}" for item in range(1, num_items + 1)},
        genres=tuple(f"cluster {number}" for number in range(NUM_CLUSTERS)),
        item_genres=item_genres,
        user_fields=user_fields,
        field_values=dict.fromkeys(USER_FIELDS, _FIELD_VALUES),
    )
    ratings = pl.DataFrame(rows, schema=["user", "item", "rating", "timestamp"], orient="row")
    return split_by_time("planted", ratings, catalogue, max_length)


def planted_fields(*, num_users: int = 64, num_items: int = 48, seed: int = 0) -> FieldData:
    """Users who like an item where their group and the item's brand, together, say so: in the form of `load_fields`.

    Fields user_id, group | item_id, brand, category; the category says nothing. Each user rates 32 items, 5 % of them
    against the rule. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    groups = np.append(0, random.integers(1, len(_FIELD_VALUES), num_users))
    brands, categories = (np.append(0, random.integers(1, size, num_items)) for size in (_NUM_BRANDS + 1, 4))
    liked = np.argsort(random.random((len(_FIELD_VALUES), _NUM_BRANDS + 1)), axis=1) < (_NUM_BRANDS + 1) // 2
    user = np.repeat(np.arange(1, num_users + 1), _EVENTS_PER_USER)
    item = random.integers(1, num_items + 1, len(user))
    positive = liked[groups[user], brands[item]] != (random.random(len(user)) < _NOISE)
    rating = np.where(positive, POSITIVE_RATING, POSITIVE_RATING - 1)
    timestamp = random.permutation(len(user)) // 2
    events = Events(pl.DataFrame({"user": user, "item": item, "rating": rating, "timestamp": timestamp}))
    of_user = np.stack([np.arange(num_users + 1), groups], axis=1)
    of_item = np.stack([np.arange(num_items + 1), brands, categories], axis=1)
    sizes = {"user_id": num_users + 1, "group": len(_FIELD_VALUES)}
    sizes |= {"item_id": num_items + 1, "brand": _NUM_BRANDS + 1, "category": 4}
    fields = (
        Field(name=name, kind="id", cardinality=size, side="user" if name in ("user_id", "group") else "item")
        for name, size in sizes.items()
    )
    return split_fields(
        Schema(dataset="planted-fields", fields=tuple(fields)),
        events,
        UserSide(at_event=of_user[events.user], now=of_user[1:]),
        of_item,
        {number: f"Item {number}" for number in range(1, num_items + 1)},
    )


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
