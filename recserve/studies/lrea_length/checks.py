"""No figure without the right answer: all ways are compared before anything is timed."""

from collections.abc import Mapping

import numpy as np

from recserve.studies.lrea_length.lab import TAIL, Ask, Case, Lab
from recserve.studies.lrea_length.models import RAW, STORED, USERS

TOLERANCE = 1e-4
"""Largest |score - expected| as a share of the most that the history changes a score."""


def gaps(lab: Lab, asks: Mapping[Case, Ask]) -> dict[str, float]:
    """The worst gap over the lengths of each comparison, as a share of what the history changes.

    unabsorbed, fully_absorbed: against `absorbed`; served: against the same graph in this process, the ranker's
    against `absorbed`; din, softmax: against PyTorch. Raises ValueError where one exceeds `TOLERANCE`.
    """
    worst: dict[str, float] = {}
    for questions in lab.questions:
        length = questions.length
        for user in range(USERS):
            expected = asks[Case("absorbed", "direct", length)](user)
            scale = _largest(expected - lab.without_history(length)(user))
            for what, case, other in _pairs(length, asks, first=user == 0):
                gap = _largest(asks[case](user) - (expected if other is None else asks[other](user))) / scale
                _note(worst, what, gap, case)
            for way in RAW if user == 0 else ():
                case = Case(way, "direct", length)
                gap = _largest(asks[case](user)[-TAIL:] - questions.trusted[way]) / scale
                _note(worst, f"{way} against PyTorch", gap, case)
    return worst


def _pairs(length: int, asks: Mapping[Case, Ask], *, first: bool) -> list[tuple[str, Case, Case | None]]:
    """(name, case, what it must equal; None for `absorbed`); the slow ones for the first user only."""
    pairs: list[tuple[str, Case, Case | None]] = [
        ("fully absorbed against absorbed", Case("fully_absorbed", "direct", length), None),
        ("ranker against absorbed", Case("ranker", "server", length), None),
    ]
    pairs += [("served against direct", Case(way, "server", length), Case(way, "direct", length)) for way in STORED]
    if first:
        pairs.append(("unabsorbed against absorbed", Case("unabsorbed", "direct", length), None))
        served = [Case(way, "server", length) for way in RAW if Case(way, "server", length) in asks]
        pairs += [("served against direct", case, case._replace(where="direct")) for case in served]
    return pairs


def _note(worst: dict[str, float], what: str, gap: float, case: Case) -> None:
    if not gap <= TOLERANCE:
        raise ValueError(
            f"{case.way} ({case.where}, {case.length:,} events), {what}: the largest gap is {gap:.3g} of what the "
            f"history changes, allowed {TOLERANCE:g}; nothing was timed"
        )
    worst[what] = max(worst.get(what, 0.0), gap)


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
