"""The parts of a set of events by time: 80, 10 and 10 %, the events of one moment in one part."""

from typing import NamedTuple

import numpy as np

from training.data.log import TRAIN_SHARE, VALIDATION_SHARE


class Borders(NamedTuple):
    """The last moment of the training part, and that of the validation part."""

    train: int
    validation: int


def borders(times: np.ndarray) -> Borders:
    """Of int64 times in any order; where a border falls among events of one moment, they go to the earlier part."""
    places = [max(1, round(len(times) * share)) - 1 for share in (TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE)]
    found = np.partition(times, places)
    return Borders(*(int(found[place]) for place in places))
