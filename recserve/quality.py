"""The quality gate of models that are of no run: a team's own figures against those of a baseline.

Figures are numbers in JSON, at any depth: `{"two_tower": {"recall_at_5": 0.7}}` is the figure two_tower.recall_at_5.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_ROUNDING = 1e-9
"""A fall by just the tolerance passes, whichever way the product rounds."""


class Figure(NamedTuple):
    """One figure of the baseline, or one that it does not have."""

    name: str
    baseline: float | None
    """None for a figure that is new."""
    measured: float | None
    """None for a figure that is no longer measured."""
    ok: bool

    @property
    def verdict(self) -> str:
        """What a person reads behind the figures."""
        if self.baseline is None:
            return "new"
        if self.measured is None:
            return "NOT MEASURED"
        return "ok" if self.ok else "WORSE"


def read(path: Path) -> dict[str, float]:
    """Name -> figure. Raises ValueError for a file that is none, and for the first entry that is no finite number."""
    try:
        figures = dict(_numbers(json.loads(path.read_text()), ""))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not figures:
        raise ValueError(f"{path} holds no figure; write an object of numbers")
    return figures


def compare(
    baseline: Mapping[str, float], measured: Mapping[str, float], lower: Sequence[str], tolerance: float
) -> list[Figure]:
    """One for each figure of the baseline, which must not be worse than there, then those that only `measured` has.

    Args:
        baseline: what was reached before.
        measured: what is reached now.
        lower: names of the figures of which less is better; of all others more is.
        tolerance: part of the baseline's figure by which one may be worse.

    Raises:
        ValueError: a name in `lower` is no figure of the baseline.
    """
    if unknown := sorted({*lower} - {*baseline}):
        raise ValueError(f"--lower {unknown[0]}: the baseline has no such figure; it has {', '.join(baseline)}")
    rows = [
        Figure(name, value, measured.get(name), _holds(value, measured.get(name), name in lower, tolerance))
        for name, value in baseline.items()
    ]
    return rows + [Figure(name, None, value, True) for name, value in measured.items() if name not in baseline]


def _holds(baseline: float, measured: float | None, less_is_better: bool, tolerance: float) -> bool:
    if measured is None:
        return False
    worse_by = measured - baseline if less_is_better else baseline - measured
    return worse_by <= tolerance * abs(baseline) + _ROUNDING


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield name, float(value)
    else:
        raise ValueError(f"{name or 'the file'} is {json.dumps(value)}, which is no finite number")
