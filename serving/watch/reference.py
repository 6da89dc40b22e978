"""What a release's scores were like when it was made: a sample cut into bins of about equal share, and request sizes.

Drift is the population stability index of two distributions over the same bins, the sum over bins of
(a - e) ln(a / e), with shares a now and e of the reference: the symmetrised Kullback-Leibler divergence (Jeffreys 1946;
Siddiqi, Credit Risk Scorecards, 2006, whose rule of thumb is: below 0.1 alike, above 0.25 another population). Half a
score is added to each bin of either side, so that an empty bin is finite (the estimator of Krichevsky and Trofimov).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

REFERENCE_FILE = "reference.json"
BINS = 10
NO_SCORE = -1e9
"""What stands in a list at a place that holds no item; it and what is below is no score."""
_PRIOR = 0.5

Source = Literal["example", "log"]


@dataclass(frozen=True, kw_only=True)
class Binned:
    """A sample in bins: up to edges[0], from there to edges[1], ..., above the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """One more than edges."""

    def __post_init__(self) -> None:
        """Raises ValueError where these are no bins."""
        edges = np.array(self.edges)
        fits = len(self.counts) == len(edges) + 1 and min(self.counts, default=-1) >= 0
        if not fits or not np.isfinite(edges).all() or (edges[1:] <= edges[:-1]).any():
            raise ValueError(f"{len(edges)} edges {list(self.edges)} and counts {list(self.counts)} are no bins")

    @classmethod
    def of(cls, sample: np.ndarray) -> Self:
        """Of numbers [N], in at most `BINS` bins of about equal share. Edges lie between the values, not on them, so
        that the last bit of a score does not move it to the next bin; equal values share a bin."""
        ordered = np.sort(sample.astype(np.float64))
        ranks = np.linspace(0, len(ordered), BINS + 1).astype(int)[1:-1]
        edges = [_between(ordered, rank) for rank in ranks if len(ordered)]
        kept = tuple(sorted({edge for edge in edges if edge is not None}))
        return cls(edges=kept, counts=tuple(counted(np.array(kept), ordered).tolist()))

    @property
    def shares(self) -> np.ndarray:
        """float64 of each bin, with the prior; none is 0."""
        return shares(np.array(self.counts))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Of one version of a model."""

    source: Source
    """Whose requests: those that the release's own example draws, or those of a log."""
    requests: int
    output: str
    """The output whose elements are the scores."""
    scores: Binned
    sizes: Binned
    """Elements of the largest input of a request."""
    unknown: Mapping[str, float]
    """Input -> share of its ids that the release does not know; of inputs that hold ids."""

    def write(self, folder: Path) -> None:
        """Into a version folder."""
        (folder / REFERENCE_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Of a version folder; None where the release has none. Raises ValueError for a damaged one."""
        path = folder / REFERENCE_FILE
        if not path.is_file():
            return None
        try:
            said = json.loads(path.read_bytes())
            scores, sizes = (_binned(said.pop(name)) for name in ("scores", "sizes"))
            return cls(scores=scores, sizes=sizes, **said)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no reference of scores ({error!r}): export the model again") from error


def _binned(said: Mapping[str, Sequence[float]]) -> Binned:
    return Binned(edges=tuple(said["edges"]), counts=tuple(map(int, said["counts"])))


def scores_of(array: np.ndarray) -> tuple[np.ndarray, int]:
    """The finite scores [N] of an output, and how many are NaN or infinite."""
    flat = array.reshape(-1)
    finite = np.isfinite(flat)
    return flat[finite & (flat > NO_SCORE)], int(flat.size - finite.sum())


def counted(edges: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """int64 [bins]: how many of a sample each bin holds."""
    return np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1)


def shares(counts: np.ndarray) -> np.ndarray:
    """float64 of each bin, with the prior."""
    return (counts + _PRIOR) / (counts.sum() + _PRIOR * len(counts))


def drift(expected: np.ndarray, actual: np.ndarray) -> float:
    """The population stability index of two lists of shares, none of them 0."""
    return float(((actual - expected) * np.log(actual / expected)).sum())


def _between(ordered: Sequence[float] | np.ndarray, rank: int) -> float | None:
    """Between the value of a rank and the next smaller one; None where there is no smaller one."""
    value = ordered[min(rank, len(ordered) - 1)]
    place = int(np.searchsorted(ordered, value, side="left"))
    if place == 0:
        return None
    middle = float((ordered[place - 1] + value) / 2)
    return middle if ordered[place - 1] <= middle < value else float(ordered[place - 1])
