"""How monotone the mastery is on held-out answers, and whether the learnt difficulties are those of the questions.

Legend: B students.
"""

from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.tracing import Measured, TracingBatch, TracingSplit
from training.layers.tracer import Concepts
from training.metrics import UndefinedError, rank_correlation
from training.system import Column, Predict
from training.systems.cmkt.parts import Pairs, Predictor
from training.systems.cmkt.soft import signed
from training.tasks.tracing import TRACING

_FEWEST = 20
"""Held-out answers of a question whose share of wrong ones is compared."""
_BATCH = 64
COLUMNS = (
    Column(title="Counterfactual violations", metric="violations", direction="min"),
    Column(title="Mastery moves against the answer", metric="against", direction="min"),
    Column(title="Difficulty by wrong answers", metric="difficulty"),
)


class Paired(Protocol):
    """Either form."""

    concepts: Concepts
    predictor: Predictor

    def pairs(self, batch: TracingBatch, /) -> Pairs: ...


class _Counted(nn.Module):
    """Of each student: pairs of an answer that counts and a concept of its question; those whose mastery lies on the
    wrong side of that after the opposite answer; those on the wrong side of that before the answer."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B 3"]:
        pairs = cast(Paired, self.module).pairs(batch)
        counted = pairs.there & (batch.counts[..., None] > 0)
        wrong = (signed(pairs.factual - other, batch) < 0 for other in (pairs.counterfactual, pairs.before))
        return torch.stack([(counted & one).sum(dim=(1, 2)) for one in (torch.ones_like(counted), *wrong)], dim=1)


def evaluate(module: nn.Module, predict: Predict, split: TracingSplit) -> dict[str, float]:
    """The task's measures; `violations` and `against`, shares of the pairs of a held-out answer and a concept that it
    practises; and `difficulty`, the rank correlation over questions of the learnt difficulty with the share of held-out
    answers that are wrong, left out where too few questions have enough of them."""
    pairs, violated, against = predict(_Counted(module), split, batch_size=_BATCH).sum(axis=0, dtype=np.float64)
    shares = {"violations": violated / pairs, "against": against / pairs} if pairs else {}
    found = {name: float(value) for name, value in shares.items()}
    return TRACING.evaluate(module, predict, split) | found | _difficulty(cast(Paired, module), split.measured())


@torch.no_grad()
def _difficulty(module: Paired, measured: Measured) -> dict[str, float]:
    of = module.concepts.of
    learnt = module.predictor.difficulty(torch.arange(len(of), device=of.device), of).cpu().numpy()
    answers = np.bincount(measured.question, minlength=len(of))
    enough = answers >= _FEWEST
    wrong = np.bincount(measured.question, 1 - measured.label, minlength=len(of))[enough] / answers[enough]
    try:
        return {"difficulty": rank_correlation(learnt[enough], wrong)}
    except UndefinedError:
        return {}
