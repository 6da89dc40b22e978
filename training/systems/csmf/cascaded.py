"""What CSMF and its controls have in common: objectives one after the other, each with a softmax of its own.

Legend: B samples, R refused items, N items, O objectives, D width of vectors.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.schema import Schema, size_of
from training.systems.csmf.config import Config
from training.systems.csmf.loss import cascade_loss, margins
from training.systems.csmf.samples import CascadeBatch, check_nested, objectives_of, served

Pair = tuple[Float[Tensor, "B D"], Float[Tensor, "M D"]]
"""Vectors of users and of items."""


class Cascaded(ABC, nn.Module):
    """Implements `training.layers.towers.Towers` for a weight of 1 for each objective, without the task's loss."""

    step: Tensor
    """int64 []: which of the stages it is in; 2 o trains objective o, 2 o + 1 lets it recover."""
    log_share: Tensor
    """[O+1, N+1]: logarithm of the items' shares of the samples of each objective, and of all together."""

    def settle(self, config: Config, schema: Schema) -> None:
        """Makes what is no parameter; once all parameters are there."""
        self.config, self.names = config, objectives_of(schema)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("log_share", torch.zeros(len(self.names) + 1, size_of(schema.key("item"))))

    def count(self, data: RetrievalData) -> None:
        """Counts the items of each objective. Raises ValueError where objectives are not nested."""
        check_nested(data)
        items, marks = torch.from_numpy(data.train.targets[:, 0]), torch.from_numpy(served(data.train)).double()
        counts = torch.zeros(self.log_share.shape[1], len(self.names)).double().index_add_(0, items, marks).T
        counts = torch.cat([counts, counts.sum(dim=0, keepdim=True)])
        self.log_share.copy_((counts.clamp(min=1) / counts.sum(dim=1, keepdim=True).clamp(min=1)).log())

    @property
    def objective(self) -> int:
        """The one that is trained, or was trained last."""
        return int(self.step) // 2

    def is_trained(self, objective: int) -> Bool[Tensor, ""]:
        """Whether an objective has had its turn; a tensor, as a graph is traced with it."""
        return self.step >= 2 * objective

    def enter(self, step: int) -> bool:
        """Begins a stage; whether it had not begun."""
        begins = int(self.step) < step
        self.step.clamp_(min=step)
        return begins

    @abstractmethod
    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        """Vectors of users; a dimension whose objective is not trained yet is 0."""

    @abstractmethod
    def items(self) -> Float[Tensor, "N+1 D"]:
        """Vectors of all items, likewise."""

    @abstractmethod
    def asked(self, objective: int) -> tuple[float, ...]:
        """The weights [O] with which an objective alone is asked for."""

    @abstractmethod
    def vectors(self, batch: RetrievalBatch, items: Tensor) -> Callable[[int], Pair]:
        """Of an objective: what users and items are to it. A gradient reaches its own weights alone."""

    def before(self, objective: int) -> Sequence[int]:
        """The frozen objectives whose scores decide the margins of the objective; none where there are no margins."""
        return ()

    def cascade_loss(self, batch: CascadeBatch, objective: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The softmax of an objective's own score over the items of the batch and what each user refused, with margins
        by the scores of those before it. -1 is all objectives together."""
        config, targets = self.config, batch.met.targets[:, 0]
        items = torch.cat([targets.expand(len(targets), -1), batch.refused], dim=1)  # (B, B + R)
        vectors = self.vectors(batch.met, torch.cat([targets, batch.refused.flatten()]))
        scores = _products(*vectors(objective), batch.refused)
        margin = torch.zeros_like(scores)
        if earlier := self.before(objective):
            with torch.no_grad():
                before = torch.stack([_products(*vectors(one), batch.refused) for one in earlier]).sum(dim=0)
            margin = margins(before, before.diagonal(), config.gamma, config.temperature)
        loss = cascade_loss(scores, items, margin, self.log_share[objective][items], config.temperature)
        return loss, {"margin": margin.mean()}


def _products(user: Float[Tensor, "B D"], item: Float[Tensor, "M D"], refused: Tensor) -> Float[Tensor, "B B+R"]:
    """Of each user with the B items of the batch, and with the R of his own behind them."""
    size = len(user)
    own = (user[:, None] * item[size:].reshape(*refused.shape, item.shape[1])).sum(dim=2)
    return torch.cat([user @ item[:size].T, own], dim=1)
