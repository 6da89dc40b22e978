"""How MF-DAKT is judged beside its answers: what its question vectors tell of relation and difficulty.

Legend: B questions that are measured, Q questions, S subspaces.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.tracing import TracingSplit
from training.system import Column, Predict
from training.systems.mfdakt.model import MFDAKT
from training.systems.mfdakt.questions import UNASKED, QuestionBatch, relation
from training.tasks.tracing import TRACING

QUESTIONS = 256
"""Of all, evenly spaced, by which relations are measured."""
LOSS = "question loss"
COLUMNS = (
    Column(title="Relation told", metric="relation"),
    Column(title="Difficulty told", metric="difficulty"),
)


def evaluate(module: nn.Module, predict: Predict, split: TracingSplit) -> dict[str, float]:
    """The task's metrics, and of the question vectors, means over the subspaces: `relation`, the correlation of their
    products with the relations; `difficulty`, the share of the variance of the difficulties that the regulariser's head
    tells, and `difficulty first`, that of the head of the pre-training; `question loss`, that of the pre-training."""
    assert isinstance(module, MFDAKT)
    training = module.training
    module.eval()
    try:
        return (TRACING.evaluate(module, predict, split) if module.answered else {}) | told(module)
    finally:
        module.train(training)


@torch.no_grad()
def told(module: MFDAKT) -> dict[str, float]:
    """Of the question vectors; a figure is left out where all questions are alike."""
    number = len(module.difficulty) - 1
    some = torch.from_numpy(np.unique(np.linspace(1, number, min(QUESTIONS, number)).astype(np.int64)))
    some = some.to(module.difficulty.device)
    loss, _ = module.question_loss(QuestionBatch(some), 0.0)
    wanted = relation(module.concepts.of[1:], some - 1, module.num_concepts, module.config.relation)
    asked = torch.nonzero(module.difficulty != UNASKED)[:, 0]
    true = module.difficulty[asked]
    found: dict[str, list[float]] = {"relation": [], "difficulty": [], "difficulty first": []}
    for one in module.each:
        products = one.question.weight[some] @ one.question.weight[1:].T
        found["relation"].append(_correlation(products, wanted))
        found["difficulty"].append(_explained(one.tell(asked), true))
        found["difficulty first"].append(_explained(one.told_first(one.question.weight[asked])[:, 0], true))
    figures = {name: float(np.mean(values)) for name, values in found.items()}
    return {LOSS: float(loss), **{name: value for name, value in figures.items() if np.isfinite(value)}}


def _correlation(one: Float[Tensor, "B Q"], other: Float[Tensor, "B Q"]) -> float:
    """NaN where one of them is the same everywhere."""
    pair = torch.stack((one.flatten(), other.flatten())).double()
    return float(torch.corrcoef(pair)[0, 1])


def _explained(said: Float[Tensor, " Q"], true: Float[Tensor, " Q"]) -> float:
    """1 - squares of what is left over those about the mean; NaN where these are 0."""
    spread = (true - true.mean()).square().sum()
    return float(1 - (true - said).square().sum() / spread) if spread > 0 else float("nan")
