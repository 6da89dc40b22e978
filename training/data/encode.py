"""Categories by name -> ids."""

from collections.abc import Iterable

import numpy as np

from training.schema import UNKNOWN


def encode(values: Iterable[str | None]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ids int64 [len], and the names by id: None is "unknown", 0; the rest by the alphabet."""
    listed = list(values)
    names = (UNKNOWN, *sorted({value for value in listed if value is not None}))
    number = {name: place for place, name in enumerate(names)}
    return np.array([0 if value is None else number[value] for value in listed], np.int64), names
