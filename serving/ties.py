"""Whether two rankings differ only in the order of items whose scores are equal.

Two ways to compute a score may round it differently, and where scores are equal the order of their items is anybody's.
A wrong item must never pass for such a difference, so everything that the scores decide has to agree.
"""

from collections import Counter
from itertools import pairwise

import numpy as np

_ROUNDING = 1e-6
"""Scores of a row that differ by less than this share of its largest count as equal: some roundings of float32."""


def only_ties_differ(
    expected: np.ndarray, actual: np.ndarray, expected_scores: np.ndarray, actual_scores: np.ndarray
) -> bool:
    """Whether the integers of each row (last axis), ordered by the scores beside them, differ only within ties.

    Ranks with equal scores must hold the same integers in any order. At the end of a row, where a tie may be cut off,
    other integers may stand, if the ranks before it are at least as many and agree.
    """
    width = expected.shape[-1]
    rows = [array.reshape(-1, width) for array in (expected, actual, expected_scores, actual_scores)]
    return all(_row_agrees(*(array[row] for array in rows)) for row in range(len(rows[0])))


def _row_agrees(
    expected: np.ndarray, actual: np.ndarray, expected_scores: np.ndarray, actual_scores: np.ndarray
) -> bool:
    if (expected == actual).all():
        return True
    if not _is_ordered(expected_scores):
        return False
    ties = _is_tied(expected_scores) & _is_tied(actual_scores)
    starts = [0, *(np.flatnonzero(~ties) + 1), len(expected)]
    groups = [slice(start, end) for start, end in pairwise(starts)]
    *complete, last = groups
    if any(sorted(expected[group]) != sorted(actual[group]) for group in complete):
        return False
    if sorted(expected[last]) == sorted(actual[last]):
        return True
    # Which members of a tie that is cut off are shown is free; that there is such a tie, the ranks before it show.
    others = Counter(actual[last].tolist()) - Counter(expected[last].tolist())
    return others.total() <= last.start and set(others).isdisjoint(expected.tolist())


def _is_tied(scores: np.ndarray) -> np.ndarray:
    """Between each two neighbours, whether they are equal but for rounding."""
    finite = np.abs(scores[np.isfinite(scores)]).astype(np.float64)
    with np.errstate(invalid="ignore"):
        differences = np.abs(np.diff(scores.astype(np.float64)))
    allowed = max(_ROUNDING, float(np.finfo(scores.dtype).eps)) * finite.max(initial=0.0)
    return (scores[1:] == scores[:-1]) | (differences <= allowed)


def _is_ordered(scores: np.ndarray) -> bool:
    return bool((scores[1:] <= scores[:-1]).all() or (scores[1:] >= scores[:-1]).all())
