"""Seeded logs of field ids, and counts small enough that keys collide in them."""

import numpy as np

from kernels.path_sampling import Aggregation, Layout, Plan, anchor_mask
from kernels.path_sampling.hph import Frequencies, FrequencyOptions
from kernels.path_sampling.level import LevelOptions
from kernels.path_sampling.sampler import Sampler, Tables

HELD = 512


def options(salt: int = 0) -> FrequencyOptions:
    """Far fewer blocks and held keys than a log of `zipf` has keys."""
    level = LevelOptions(held=HELD, layout=Layout(blocks=1024, rows=8, width=1, salt=salt))
    return FrequencyOptions(singles=level, pairs=level)


def zipf(rows: int, fields: int, seed: int = 0) -> np.ndarray:
    """int64 [rows, fields]: few ids that come often, many that come once or twice."""
    return np.minimum(np.random.default_rng(seed).zipf(1.3, (rows, fields)), 1 << 40).astype(np.int64)


def counted(ids: np.ndarray, salt: int = 0) -> Frequencies:
    """The frequencies of a log int64 [n, F]."""
    frequencies = Frequencies(ids.shape[1], options(salt))
    frequencies.add(ids)
    return frequencies


def tables(users: int = 40, items: int = 90, seed: int = 0) -> Tables:
    """Users 10, 12, ... with two more fields, items 1 to `items` with one more."""
    random = np.random.default_rng(seed)
    item_rows = np.stack((np.arange(items + 1), random.integers(1, 9, items + 1)), axis=1)
    item_rows[0] = 0
    profiles = random.integers(1, 5, (users, 2))
    return Tables(
        user_ids=10 + 2 * np.arange(users),
        user_rows=np.concatenate((np.arange(1, users + 1)[:, None], profiles), axis=1),
        item_rows=item_rows,
        new_user=np.zeros(3, np.int64),
    )


def sampler(paths: int = 4) -> Sampler:
    """A sampler of five fields, after a log in which popular items come often."""
    rows = tables()
    random = np.random.default_rng(1)
    users = random.integers(0, len(rows.user_ids), 4000)
    items = np.minimum(random.zipf(1.3, 4000), len(rows.item_rows) - 1)
    frequencies = counted(np.concatenate((rows.user_rows[users], rows.item_rows[items]), axis=1))
    plan = Plan(paths=paths, draws=2, anchors=anchor_mask(rows.anchors), seed=1)
    return Sampler(frequencies, rows, plan, Aggregation())
