"""Sequences with planted structure, for tests and first tries that must not download anything."""

import numpy as np

from training.data.sequences import Content, SequenceData, leave_one_out

_NOISE = 0.05
_LENGTHS = (5, 12)


def synthetic_sequences(
    *,
    seed: int = 0,
    num_users: int = 200,
    num_items: int = 60,
    num_clusters: int = 6,
    max_length: int = 12,
    graph_width: int = 16,
) -> SequenceData:
    """Users who walk in a cycle through one cluster of items, with 5 % of the steps anywhere, 5 to 12 items each.

    Text and graph vectors say which cluster an item is of, with noise of its own; its category is its cluster, from 1.
    Low item ids are chosen as starts more often than high ones. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    cluster = np.append(-1, np.arange(num_items) % num_clusters)
    members = [np.flatnonzero(cluster == number) for number in range(num_clusters)]
    sequences = [_walk(members, num_items, random) for _ in range(num_users)]
    return leave_one_out(
        dataset="synthetic-sequences",
        user_ids=np.arange(1, num_users + 1),
        sequences=sequences,
        categories=cluster + 1,
        titles={item: f"Item {item}" for item in range(1, num_items + 1)},
        max_length=max_length,
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
