"""Requests of users with candidates, drawn with the skew of real traffic."""

import numpy as np

from loadtest.pool import Tensors

REQUESTS = 512
MEDIAN, SPREAD, LARGEST = 100, 0.8, 1000
"""Candidates of a request: log-normal."""
SIZES = f"their number log-normal (median {MEDIAN}, sigma {SPREAD}, 1 to {LARGEST}); {REQUESTS} distinct requests"


def draw(users: tuple[np.ndarray, np.ndarray], items: tuple[np.ndarray, np.ndarray], seed: int) -> list[Tensors]:
    """user_id [1, 1] and candidates [1, n] of users and items, each given as ids and how often to draw them."""
    random = np.random.default_rng(seed)
    (user_ids, user_counts), (item_ids, item_counts) = users, items
    drawn = random.choice(user_ids, REQUESTS, p=user_counts / user_counts.sum())
    sizes = np.exp(random.normal(np.log(MEDIAN), SPREAD, REQUESTS)).astype(int).clip(1, LARGEST)
    popularity = item_counts / item_counts.sum()
    return [
        {
            "user_id": np.array([[user]], np.int64),
            "candidates": random.choice(item_ids, size, p=popularity).astype(np.int64)[None],
        }
        for user, size in zip(drawn, sizes, strict=True)
    ]
