"""Sequences with planted structure, for tests and first tries that must not download anything."""

import numpy as np
import polars as pl

from training.interactions import Content, Dataset, Interactions
from training.schema import UNKNOWN, Field, Schema

NAME = "synthetic-sequences"
_NOISE = 0.05
_LENGTHS = (5, 12)


def synthetic_sequences(
    *,
    seed: int = 0,
    num_users: int = 200,
    num_items: int = 60,
    num_clusters: int = 6,
    graph_width: int = 16,
) -> Interactions:
    """Users who walk in a cycle through one cluster of items, with 5 % of the steps anywhere, 5 to 12 items each.

    Text and graph vectors say which cluster an item is of, with noise of its own; its category is its cluster, from 1.
    Low item ids are chosen as starts more often than high ones. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    cluster = np.append(-1, np.arange(num_items) % num_clusters)
    members = [np.flatnonzero(cluster == number) for number in range(num_clusters)]
    walks = [_walk(members, num_items, random) for _ in range(num_users)]
    events = {
        "user": np.repeat(np.arange(1, num_users + 1), [len(walk) for walk in walks]),
        "item": np.concatenate(walks),
        "order": np.concatenate([np.arange(len(walk)) for walk in walks]),
    }
    titles = (UNKNOWN, *(f"Item {item}" for item in range(1, num_items + 1)))
    return Interactions(
        schema=Schema(
            dataset=NAME,
            fields=(
                Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=num_users + 1),
                Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=len(titles), values=titles),
                Field(name="category", role="item", kind="id", uses=("category",), cardinality=num_clusters + 1),
                Field(name="order", role="event", kind="dense", uses=("order",)),
            ),
        ),
        events=pl.DataFrame(events),
        users=pl.DataFrame(),
        items=pl.DataFrame({"title": titles, "category": cluster + 1}),
        licence="none: generated",
        load_content=lambda: Content(_vectors(cluster, 384, seed), _vectors(cluster, graph_width, seed + 1)),
    )


def _walk(members: list[np.ndarray], num_items: int, random: np.random.Generator) -> np.ndarray:
    """Distinct items, as a user reviews a thing once."""
    own = members[random.integers(len(members))]
    length = min(int(random.integers(_LENGTHS[0], _LENGTHS[1] + 1)), len(own))
    start = int(len(own) * random.random() ** 2)
    walk = own[(start + np.arange(length)) % len(own)]
    noisy = random.random(length) < _NOISE
    walk = np.where(noisy, random.integers(1, num_items + 1, length), walk)
    return walk[np.sort(np.unique(walk, return_index=True)[1])] if len(np.unique(walk)) >= 3 else own[:3]


def _vectors(cluster: np.ndarray, width: int, seed: int) -> np.ndarray:
    """float32 [N + 1, width] of norm 1, row 0 zeros."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(int(cluster.max()) + 1, width))
    vectors = centres[cluster] + 0.5 * random.normal(size=(len(cluster), width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    return vectors.astype(np.float32)


DATASET = Dataset(
    name=NAME,
    what="planted walks of 200 users through 60 items, for first tries",
    licence="none: generated",
    read=lambda _cache, _report: synthetic_sequences(),
)
