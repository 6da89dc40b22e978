"""Users with a taste, for tests and first tries of retrieval: nothing is downloaded, and a model learns in seconds."""

import numpy as np
import polars as pl

from training.interactions import Dataset, Interactions
from training.schema import Field, Schema

NAME = "planted-retrieval"
NUM_CLUSTERS = 20
_NUM_GROUPS = 4
_TASTE, _SECOND = 0.8, 0.1
"""Shares of the events of a user that are of his first and of his second cluster; the rest is anywhere."""
_EVENTS = (8, 20)


def planted_retrieval(*, seed: int = 0, num_users: int = 500, num_items: int = 400) -> Interactions:
    """Users who meet items of one cluster, some of another, and click and buy those of the first more often.

    Clusters have an item field, `brand`; the users' field, `group`, leaves a quarter of the clusters for the first one.
    Within a cluster low ids are met more often. Objectives: seen, clicked, bought, each nested in the one before.
    """
    random = np.random.default_rng(seed)
    cluster = np.append(-1, np.arange(num_items) % NUM_CLUSTERS)
    first = np.append(0, random.integers(NUM_CLUSTERS, size=num_users))
    second = random.integers(NUM_CLUSTERS, size=num_users + 1)
    user = np.repeat(np.arange(1, num_users + 1), random.integers(*_EVENTS, num_users))
    draw = random.random(len(user))
    taste = np.where(draw < _TASTE, first[user], np.where(draw < _TASTE + _SECOND, second[user], -1))
    taste = np.where(taste < 0, random.integers(NUM_CLUSTERS, size=len(user)), taste)
    rank = (num_items // NUM_CLUSTERS * random.random(len(user)) ** 1.5).astype(np.int64)
    item = rank * NUM_CLUSTERS + taste + 1
    liked = cluster[item] == first[user]
    clicked = random.random(len(user)) < np.where(liked, 0.6, 0.2)
    bought = clicked & (random.random(len(user)) < np.where(liked, 0.5, 0.2))
    events = {"user": user, "item": item, "time": random.permutation(len(user)) // 2}
    events |= {"seen": np.ones(len(user)), "clicked": clicked, "bought": bought}
    groups = np.append(0, first[1:] % _NUM_GROUPS + 1)
    return Interactions(
        schema=_schema(num_users + 1, num_items + 1),
        events=pl.DataFrame(events).with_columns(pl.col("seen", "clicked", "bought").cast(pl.Float32)),
        users=pl.DataFrame({"group": groups}),
        items=pl.DataFrame({"brand": cluster + 1, "title": [f"Item {number}" for number in range(num_items + 1)]}),
        licence="made here",
    )


def _schema(num_users: int, num_items: int) -> Schema:
    objectives = (
        Field(name=name, role="event", kind="id", uses=("objective",), cardinality=2)
        for name in ("seen", "clicked", "bought")
    )
    return Schema(
        dataset=NAME,
        fields=(
            Field(name="user", role="user", kind="id", uses=("key",), cardinality=num_users),
            Field(name="group", role="user", kind="id", cardinality=_NUM_GROUPS + 1),
            Field(name="item", role="item", kind="id", uses=("key",), cardinality=num_items),
            Field(name="brand", role="item", kind="id", cardinality=NUM_CLUSTERS + 1),
            Field(name="time", role="event", kind="dense", uses=("time",)),
            *objectives,
        ),
    )


DATASET = Dataset(
    name=NAME,
    what="planted clicks and purchases of 500 users among 400 items, for first tries",
    licence="none: generated",
    read=lambda _cache, _report: planted_retrieval(),
)
