"""EASE: the weights of all items for each item, in closed form, with no weight for the item itself.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, https://arxiv.org/abs/1905.03375

Stated: with X who met what, P = (X^T X + ridge I)^-1 and B = I - P diag(1 / diag P), the scores of a user are x B
(eq. 8). Follows the paper. Our design: the task's two vectors are the history as a set, and the columns of B; so B is
kept once, and the score is still a product. An empty history, which says nothing, has the most popular items.

Legend: B users of a batch, N items.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.data.user_rows import user_rows
from training.layers.history_set import as_set
from training.layers.popular import behind
from training.needs import Need
from training.schema import Schema, size_of
from training.system import System
from training.tasks.retrieval import RETRIEVAL
from training.tasks.retrieval_served import MAX_HISTORY

MOST_ITEMS = 10_000
"""More are refused: the matrix of all pairs of items is inverted in fp64, and lies in the graph."""
FEW_ITEMS = Need(
    f"at most {MOST_ITEMS:,} items",
    lambda data: size_of(data.schema.key("item")) <= MOST_ITEMS + 1,
    "no more items than that, or take two_tower",
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All there is to choose."""

    ridge: float = 1000.0
    """Lambda of the ridge regression; the default was chosen on the validation part of ml-1m-clean."""
    max_length: int = MAX_HISTORY
    """Newest items of a history that count."""

    def __post_init__(self) -> None:
        if self.ridge <= 0:
            raise ValueError(f"ridge is {self.ridge}; it must be above 0")


class Ease(nn.Module):
    """Implements `training.layers.towers.Towers` but for the loss: there are no steps."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.ridge, num_rows = config.ridge, size_of(schema.key("item"))
        self.weights = nn.Parameter(torch.zeros(num_rows, num_rows), requires_grad=False)
        """Row i: what each item of a history says for item i, and what an empty history says."""

    def prepare(self, data: RetrievalData) -> None:
        """Solves for the weights."""
        met = user_rows(data)[:, 1:]
        self.weights[1:, :-1] = torch.from_numpy(solved((met.T @ met).toarray(), self.ridge).T).float()
        self.weights[1:, -1] = behind(data.train_item_counts[1:]) / len(self.weights)

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B N+1"]:
        """Histories as sets, and whether they are empty."""
        met = as_set(batch.history, self.weights)
        return torch.cat((met, 1 - met.amax(dim=1, keepdim=True)), dim=1)

    def items(self) -> Float[Tensor, "N+1 N+1"]:
        """The weights for each item."""
        return self.weights


def solved(met_together: Float[np.ndarray, "N N"], ridge: float) -> Float[np.ndarray, "N N"]:
    """B of X^T X, fp64."""
    inverse = np.linalg.inv(met_together + ridge * np.eye(len(met_together)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


SYSTEM = System(
    name="ease",
    title="EASE: weights between items in closed form",
    paper="https://arxiv.org/abs/1905.03375",
    provenance="follows the paper; the two vectors are our design",
    task=RETRIEVAL,
    config=Config,
    baseline=None,
    build=Ease,
    needs=(FEW_ITEMS,),
    stages=lambda _config: (),
    variant=lambda config: "" if config.ridge == Config.ridge else f"ridge-{config.ridge:g}",
)
