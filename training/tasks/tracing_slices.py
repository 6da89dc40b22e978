"""Measures of knowledge tracing beside those of all answers: by how many a student has given, of calibration, and by
what only a simulation knows.

Axes: M answers that count, N students at their last answer, C concepts.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from training.data.tracing import Measured, TracingBatch, TracingSplit
from training.layers.tracer import Tracer
from training.metrics import UndefinedError, auc, rank_correlation
from training.system import Column, Predict

FIRST_ANSWERS = 10
"""Of a new student, measured by themselves."""
SEEN = ((1, 10), (11, 50), (51, 100), (101, None))
"""Numbers of a student's answers, from 1, measured by themselves."""
BINS = 10
"""Of predicted probabilities, with as many answers each."""
_FEWEST = 10
"""Students by whom mastery of a concept is compared."""


def _named(first: int, last: int | None) -> str:
    return f"auc {first}-{last or ''}"


SLICES = (
    *(
        Column(
            title=f"AUC, answers {first} to {last}" if last else f"AUC, from answer {first}", metric=_named(first, last)
        )
        for first, last in SEEN
    ),
    Column(title="Calibration error", metric="calibration error", direction="min"),
    Column(title="AUC of the true probabilities", metric="oracle auc", direction=None),
    Column(title="Mastery by true ability", metric="mastery"),
)
"""What a data set may have none of: long histories, and what only a simulation knows."""


def aucs(measured: Measured, logits: np.ndarray) -> dict[str, Callable[[], float]]:
    """AUC of logits [M]: of all, of known and of new students, of the first answers of these, and by `SEEN`; where a
    simulation knows the probabilities also theirs, as `oracle auc...`: no model of the same answers can be better."""
    parts = {
        "auc": np.ones(len(logits), bool),
        "auc known": ~measured.is_new,
        "auc new": measured.is_new,
        "auc first": measured.is_new & (measured.step < FIRST_ANSWERS),
    }
    for first, last in SEEN:
        number = measured.step + 1
        parts[_named(first, last)] = (number >= first) & (number <= (last or number))
    found = {name: partial(auc, measured.label[rows], logits[rows]) for name, rows in parts.items()}
    if (known := measured.probability) is not None:
        found |= {f"oracle {name}": partial(auc, measured.label[rows], known[rows]) for name, rows in parts.items()}
    return found


def calibration(label: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Of labels and logits [M], by bins of as many answers each, from the least probable ones: their mean probability
    (`calibration 0 predicted`) and the share of them that was right (`calibration 0 right`). `calibration error` is the
    mean distance of the two, weighted by answers. Equal logits are ordered as given."""
    wide = logits.astype(np.float64)
    probability = np.exp(-np.logaddexp(0.0, -wide))
    bins = np.array_split(np.argsort(logits, kind="stable"), min(BINS, len(logits)))
    pairs = [(float(probability[rows].mean()), float(label[rows].mean())) for rows in bins]
    gaps = [abs(predicted - right) for predicted, right in pairs]
    found = {"calibration error": float(np.average(gaps, weights=[len(rows) for rows in bins]))}
    for number, (predicted, right) in enumerate(pairs):
        found |= dict(zip(_of_bin(number), (predicted, right), strict=True))
    return found


def _of_bin(number: int) -> tuple[str, str]:
    return f"calibration {number} predicted", f"calibration {number} right"


OF_BINS = frozenset(name for number in range(BINS) for name in _of_bin(number))
"""Metrics of which the picture of calibration is drawn."""


class _Mastery(nn.Module):
    """Mastery [B, C] after all answers of a batch."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B C"]:
        tracer = cast(Tracer[tuple[Tensor, ...]], self.module)
        return tracer.mastery(tracer.after(batch))


def mastery(module: nn.Module, predict: Predict, split: TracingSplit, batch_size: int) -> dict[str, float]:
    """`mastery`: the rank correlation over students between what the module says that they master of a concept and what
    a simulation knows that they do, after their last answers; the mean over concepts, of each by the students who were
    asked about it. Left out where no simulation knows, and where too few students can be compared."""
    known = split.abilities()
    if known is None:
        return {}
    said = predict(_Mastery(module), split, batch_size=batch_size)[known.sample]
    found = [*_by_concept(said, known.ability)]
    return {"mastery": float(np.mean(found))} if found else {}


def _by_concept(said: np.ndarray, ability: np.ndarray) -> Iterator[float]:
    for own, true in zip(said.T, ability.T, strict=True):
        there = ~np.isnan(true)
        if there.sum() < _FEWEST:
            continue
        try:
            yield rank_correlation(own[there], true[there])
        except UndefinedError:
            # One figure for every student says nothing of who knows more.
            yield 0.0
