"""How good CMVF is, and whether its modes are those that a simulation knows.

Legend: N students, K modes, B students of a batch.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingSplit
from training.metrics import UndefinedError, defined
from training.system import Predict
from training.systems.cmvf.model import CMVF
from training.tasks.tracing import TRACING

_STUDENTS = 64
"""Of a batch, which reads all answers of each."""


class Modes(nn.Module):
    """Shares of the modes after all answers of a batch."""

    def __init__(self, model: CMVF) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TracingBatch) -> Float[Tensor, "B K"]:
        log_share = self.model.seen(self.model.after(batch)).log_share
        assert log_share is not None
        return log_share.exp()


def evaluate(model: CMVF, predict: Predict, split: TracingSplit) -> dict[str, float]:
    """The task's measures; `mode nmi`, where a simulation knows modes: what the greatest share after all answers of a
    student and his true mode say of each other."""
    found, known = TRACING.evaluate(model, predict, split), split.modes()
    if model.prior is None or known is None:
        return found
    likeliest = predict(Modes(model), split, batch_size=_STUDENTS).argmax(axis=1)
    return found | defined({"mode nmi": lambda: normalised_mutual_information(likeliest, known)})


def normalised_mutual_information(found: np.ndarray, true: np.ndarray) -> float:
    """Of two labels int64 [N]: their mutual information over the mean of their entropies; 0 where one says nothing of
    the other, 1 where either says all. Raises UndefinedError where all true ones are the same."""
    together = np.zeros((found.max() + 1, true.max() + 1))
    np.add.at(together, (found, true), 1 / len(found))
    of_found, of_true, joint = (_entropy(one) for one in (together.sum(1), together.sum(0), together.ravel()))
    if of_true == 0:
        raise UndefinedError("all students are of one mode: there is nothing to recover")
    return float((of_found + of_true - joint) / ((of_found + of_true) / 2))


def _entropy(shares: np.ndarray) -> float:
    """In nats."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())
