"""The tenths of answers by predicted probability, of recorded results of tracing models.

Axes: R systems, S seeds, B tenths.
"""

from typing import NamedTuple

import numpy as np

from recserve import results
from recserve.results import Result
from training.tasks.tracing import TRACING
from training.tasks.tracing_slices import BINS

_ERROR = "calibration error"


class Curve(NamedTuple):
    """Of one system."""

    result: Result
    predicted: np.ndarray
    """float [S, B]: mean probability that was predicted, ascending."""
    right: np.ndarray
    """float [S, B]: share of the answers that was right."""
    error: dict[str, float]
    """Mean and spread of the mean distance of the two."""


def curves(dataset: str, names: tuple[str, ...]) -> list[Curve]:
    """Of all systems that were recorded on a data set, or of those named, in order, the best calibrated first.

    Raises ValueError where one that is named was not recorded, and where there is none.
    """
    folder = results.FOLDER / TRACING.name / dataset
    there = sorted(path.stem for path in folder.glob("*.json"))
    if unknown := [name for name in names if name not in there]:
        listed = f"; there are {', '.join(there)}" if there else ""
        raise ValueError(f"{unknown[0]} was not recorded on {dataset}{listed}")
    found = [results.read(TRACING.name, dataset, name) for name in names or there]
    drawn = [_curve(one) for one in found if one is not None and _metric("right", 0) in one.test]
    if not drawn:
        remedy = f"recserve train dkt --dataset {dataset} --seeds 3 --record does"
        raise ValueError(f"no tracing model with calibration was recorded on {dataset}; {remedy}")
    return sorted(drawn, key=lambda one: one.error["mean"])


def _curve(result: Result) -> Curve:
    predicted, right = (
        np.array([_of(result, what, place) for place in range(BINS)]).T for what in ("predicted", "right")
    )
    return Curve(result, predicted, right, result.test[_ERROR])


def _of(result: Result, what: str, place: int) -> list[float]:
    """By seed, or the mean alone."""
    name = _metric(what, place)
    return result.by_seed[name] if result.by_seed else [result.test[name]["mean"]]


def _metric(what: str, place: int) -> str:
    return f"calibration {place} {what}"
