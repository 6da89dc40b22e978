"""What the training part says of fields: how often each id occurs, mean and deviation of dense ones.

Axes: R rows of a table of all fields (the sum of their sizes), Fd dense fields, G_m ids of the multi-valued field m.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from training.data.columns import Columns, Layout

Samples = Callable[[np.ndarray], Columns]
"""Numbers of samples int64 [n] -> their fields."""

_CHUNK = 1 << 18


class Statistics(NamedTuple):
    """Of some samples."""

    counts: np.ndarray
    """int64 [R]: samples with each id of each field; an id outside its field counts as 0."""
    mean: np.ndarray
    """float32 [Fd], over the samples where it is there; 0 where it never is."""
    deviation: np.ndarray
    """float32 [Fd]; 1 where it has none."""
    set_shares: tuple[np.ndarray, ...]
    """float32 [G_m] each: what each id of a multi-valued field is of a sample's set, 1 / size where it is in it, as the
    mean over all samples; 0 for id 0 and for ids that no sample holds."""


def measured(layout: Layout, samples: Samples, num_samples: int) -> Statistics:
    """Statistics of samples 0 .. num_samples - 1, which `samples` gives by their numbers; read in parts."""
    sizes = np.array(layout.sizes, np.int64)
    offsets = np.cumsum(sizes) - sizes
    counts = np.zeros(int(sizes.sum()), np.int64)
    set_sums = tuple(np.zeros(one.cardinality) for one in layout.sets)
    number, total, squares = (np.zeros(len(layout.dense)) for _ in range(3))
    shift = _first(samples(np.arange(min(num_samples, _CHUNK))).dense)
    for start in range(0, num_samples, _CHUNK):
        part = samples(np.arange(start, min(start + _CHUNK, num_samples)))
        rows = np.where((part.ids >= 0) & (part.ids < sizes), part.ids, 0) + offsets
        counts += np.bincount(rows.ravel(), minlength=len(counts))
        there, values = ~np.isnan(part.dense), np.nan_to_num(part.dense - shift)
        number, total, squares = (
            sum_ + new.sum(axis=0)
            for sum_, new in zip((number, total, squares), (there, values, np.square(values)), strict=True)
        )
        for one, found in zip(layout.sets, set_sums, strict=True):
            found += _of_sets(part.sets[:, one.start : one.stop], one.cardinality)
    above = total / np.maximum(number, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(number, 1) - np.square(above), 0))
    mean = np.where(number > 0, shift + above, 0)
    return Statistics(
        counts,
        mean.astype(np.float32),
        np.where(deviation > 0, deviation, 1).astype(np.float32),
        tuple((found / max(1, num_samples)).astype(np.float32) for found in set_sums),
    )


def _of_sets(sets: np.ndarray, cardinality: int) -> np.ndarray:
    """float64 [cardinality]: for each id the sum of 1 / size over the sets int64 [n, w] that hold it; ids outside
    1 .. cardinality - 1 belong to no set."""
    valid = (sets > 0) & (sets < cardinality)
    each = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)
    return np.bincount(sets[valid], each[valid], minlength=cardinality)


def _first(dense: np.ndarray) -> np.ndarray:
    """float64 [Fd]: a value of each field. Sums are taken of the differences from it: the square of a time in seconds
    leaves no digits for its deviation, and a constant must have none at all."""
    there = ~np.isnan(dense)
    return np.nan_to_num(np.take_along_axis(dense, there.argmax(axis=0)[None], axis=0)[0].astype(np.float64))
