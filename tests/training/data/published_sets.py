"""Published sets where they are at hand, and digests of what is made of them."""

import hashlib
import os

import numpy as np
import pytest

from training.data.click import ClickData
from training.data.fetch import default_cache
from training.datasets import read
from training.interactions import Interactions


def at_hand(name: str) -> Interactions:
    """The set; the test is skipped where it is not here, unless RECSERVE_DATA says where it must be."""
    if not (default_cache() / name).is_dir() and "RECSERVE_DATA" not in os.environ:
        pytest.skip(f"{name} is not here: recserve data fetch {name}")
    return read(name)


def digest(*arrays: np.ndarray) -> str:
    """16 hex digits of dtypes, shapes and values."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def digests_of(data: ClickData) -> dict[str, str]:
    """Of splits, of fields and profiles of all samples, and of the histories of every 50th one and of serving."""
    parts = (data.train, data.validation, data.test)
    everyone = [np.arange(len(part)) for part in parts]
    batches = [part.batch(rows[::50]) for part, rows in zip(parts, everyone, strict=True)]
    return {
        "splits": digest(*(array for part in parts for array in (part.places, part.user, part.label, part.time))),
        "features": digest(*(one.features(rows).ids for one, rows in zip(parts, everyone, strict=True))),
        "profiles": digest(*(one.profiles(rows).ids for one, rows in zip(parts, everyone, strict=True))),
        "item profile": digest(*data.item_profile),
        "histories": digest(
            *(part.numpy() for one in batches for part in (one.history_items, one.history_values, one.history_length))
        ),
        "served histories": digest(*data.histories().values()),
        "served fields": digest(data.features.users.ids, data.features.items.ids, data.profile.users.ids),
    }
