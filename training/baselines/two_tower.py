"""Two towers: users and items as unit vectors, learnt by a softmax over the batch that is corrected for popularity.

Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019,
https://doi.org/10.1145/3298689.3346996

Stated (section 3): each tower is a network over embeddings; both vectors are divided by their norm and the product by
a temperature; the other items of a batch are the negatives, and the logit of each gets its log-probability of being in
the batch subtracted: s(x, y) - log p(y).

Differs from the paper: p is the item's share of the training events, which are counted, not estimated from a stream;
a negative that is the same item as the positive is masked; no rewards (every positive weighs one); the user's side is
the mean of the history's item embeddings, which both towers share, beside the profile fields.

Legend: B users of a batch, N items.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.layers.tower_pair import TowerConfig, TowerPair
from training.schema import Schema, size_of
from training.system import System
from training.tasks.retrieval import RETRIEVAL

_MASKED = -1e9


@dataclass(frozen=True, kw_only=True)
class Config(TowerConfig):
    """Sizes and training."""

    temperature: float = 0.1
    """Divisor of the products in the loss."""


class TwoTower(TowerPair):
    """Towers and a corrected softmax."""

    log_share: Tensor

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.temperature = config.temperature
        self.register_buffer("log_share", torch.zeros(size_of(schema.key("item"))))

    def prepare(self, data: RetrievalData) -> None:
        """Takes the logarithm of the items' shares of the training events too."""
        super().prepare(data)
        counts = torch.from_numpy(data.train_item_counts).double()
        self.log_share.copy_((counts.clamp(min=1) / counts.sum()).log())

    def loss(self, batch: RetrievalBatch, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each user's item among the items of the batch."""
        targets = batch.targets[:, 0]
        products = self.users(batch) @ self.item(targets).T
        return corrected_softmax(products / self.temperature, targets, self.log_share[targets]), {}


def corrected_softmax(
    logits: Float[Tensor, "B B"], items: Int[Tensor, " B"], log_share: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean of -log softmax(s(x_i, y_j) - log p_j)[i] over j; j != i with the same item is left out."""
    corrected = logits - log_share
    own = torch.eye(len(items), dtype=torch.bool, device=items.device)
    same = (items[:, None] == items) & ~own
    return nn.functional.cross_entropy(
        corrected.masked_fill(same, _MASKED), torch.arange(len(items), device=items.device)
    )


GPU = Config(dim=128, hidden=512, batch_size=8192, epochs=100, patience=5)
"""A run for an accelerator; here it was only started."""


SYSTEM = System(
    name="two_tower",
    title="Two towers with a popularity-corrected batch softmax",
    paper="https://doi.org/10.1145/3298689.3346996",
    provenance="the paper's towers, temperature and correction; counted shares, masked equal negatives and the mean of "
    "the history are our design",
    task=RETRIEVAL,
    config=Config,
    gpu=GPU,
    baseline=None,
    build=TwoTower,
    reads=frozenset({"users"}),
)
