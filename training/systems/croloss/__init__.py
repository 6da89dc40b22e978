"""CROLoss: a loss for retrieval that can be told for which N of Recall@N it is to train.

Tang et al., "CROLoss: Towards a Customizable Loss for Retrieval Models in Recommender Systems", CIKM 2022,
https://arxiv.org/abs/2208.02971

Read: the abstract, and the authors' code (TensorFlow 1, MIT). From the code: kernels, weighting by alpha, rho, the
Lambda method, towers with unit vectors, beta 10, uniform negatives that a batch shares. Our design: a negative that is
the positive is left out; the Lambda weight keeps its factor rho; softplus as the default kernel; one layer inside each
tower (`linear` leaves them out) and fields beside the ids, as `two_tower` has them; all sizes and rates.

Special cases, which tests hold to be equal: exp with alpha 1 is the softmax over the sample, softplus with alpha 0 BPR,
the hinge with alpha 0 the triplet loss.

Legend: B users of a batch, M negatives, N items.
"""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.layers.tower_pair import TowerConfig, TowerPair
from training.schema import Schema, size_of
from training.system import System
from training.systems.croloss.loss import Criterion, Kernel
from training.tasks.retrieval import RETRIEVAL

__all__ = ["GPU", "SYSTEM", "Config", "Criterion", "CroTowers"]

_FAILS = (
    "exp with decoupled trains badly, as its gradient grows where its weight cannot shrink; take "
    "--config.kernel softplus"
)


@dataclass(frozen=True, kw_only=True)
class Config(TowerConfig):
    """Sizes, training and the loss."""

    kernel: Kernel = "softplus"
    """Stand-in for the step in the rank: sigmoid is nearest to it, exp makes the softmax."""
    alpha: float = 1.0
    """Ranks that count: above 1 the head of the list, below 1 its tail."""
    decoupled: bool = False
    """Weight of a rank by the sigmoid, whatever the kernel of the gradient: the Lambda method."""
    beta: float = 10.0
    """Factor of the differences of scores."""
    negatives: int = 512
    """M: items drawn evenly for each step, shared by its users."""
    linear: bool = False
    """Towers as the authors' code has them: one linear map of the user's side, items as their rows."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 4:
            raise ValueError(f"alpha is {self.alpha}; it must be in 0..4")
        if self.beta <= 0 or self.negatives < 1:
            raise ValueError(f"beta ({self.beta}) must be above 0, negatives ({self.negatives}) at least 1")


class CroTowers(TowerPair):
    """Two towers and the loss."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        if config.linear:
            self.user_tower, self.item_tower = nn.Sequential(nn.Linear(config.dim, config.dim)), nn.Sequential()
        self.negatives, self.num_items = config.negatives, size_of(schema.key("item")) - 1
        self.criterion = Criterion(config.kernel, config.alpha, config.beta, self.num_items, config.decoupled)

    def prepare(self, data: RetrievalData) -> None:
        """Says what is known to fail, too."""
        super().prepare(data)
        if self.criterion.kernel == "exp" and self.criterion.decoupled:
            sys.stderr.write(f"warning: {_FAILS}\n")

    def loss(self, batch: RetrievalBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the users."""
        targets = batch.targets[:, 0]
        drawn = torch.randint(1, self.num_items + 1, (self.negatives,), device=targets.device)
        users, items = self.users(batch), self.item(torch.cat([targets, drawn]))
        positive = (users * items[: len(targets)]).sum(dim=1)
        negative = users @ items[len(targets) :].T
        return self.criterion.loss(positive, negative, drawn != targets[:, None]).mean(), {}


def variant(config: Config) -> str:
    """The loss, where it is not the default."""
    parts = [
        config.kernel if config.kernel != "softplus" else "",
        f"alpha-{config.alpha:g}" if config.alpha != 1 else "",
        "lambda" if config.decoupled else "",
        "linear" if config.linear else "",
    ]
    return "-".join(part for part in parts if part)


GPU = Config(dim=128, hidden=512, negatives=8192, batch_size=8192, epochs=100, patience=5)
"""A run for an accelerator; here it was only started."""


SYSTEM = System(
    name="croloss",
    title="CROLoss: a loss for a chosen N of Recall@N",
    paper="https://arxiv.org/abs/2208.02971",
    provenance="kernels, weighting, Lambda method and negatives from the authors' code; masked equal negatives, factor "
    "rho, fields and sizes are our design",
    task=RETRIEVAL,
    config=Config,
    gpu=GPU,
    baseline="two_tower",
    build=CroTowers,
    reads=frozenset({"users"}),
    variant=variant,
)
