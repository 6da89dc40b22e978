"""CSMF's network: two towers whose weights, and whose output dimensions, are divided among the objectives.

Objective o reads the hidden weights whose owner is o or before it, and the outputs whose owner it is:

    u_o = norm(tower_u(x; owner <= o)[dimensions of o]),  i_o likewise,  s_o(u, i) = <u_o, i_o>

so that what an objective answers cannot change once its weights are frozen. An objective's score sums those up to its
own, as the logarithm of a product of the cascade's steps would; a request weighs them by alpha:

    sum_o alpha_o s_o = <[alpha_o u_o]_o, [i_o]_o>

Biases and the tables are everybody's: they move with the first objective and are frozen with it.

Legend: B samples, D width of vectors, N items, O objectives, R refused items.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.layers.tower_pair import TowerPair
from training.schema import Schema, size_of
from training.systems.csmf.config import Config
from training.systems.csmf.loss import cascade_loss, margins
from training.systems.csmf.masks import give, give_outputs
from training.systems.csmf.samples import CascadeBatch, check_nested, objectives_of, served

TOWERS = ("user", "item")


class CSMF(TowerPair):
    """Implements `training.layers.towers.Towers` for a weight of 1 for each objective, without the task's loss."""

    step: Tensor
    """int64 []: which of the stages it is in; 2 o trains objective o, 2 o + 1 prunes it and lets it recover."""
    user_owner: Tensor
    item_owner: Tensor
    """int8 [hidden, dim]: which objective has a weight of the hidden layer."""
    output_owner: Tensor
    """int8 [D]: which objective has a dimension of both vectors, and the weights that lead to it."""
    log_share: Tensor
    """[O, N+1]: logarithm of the items' shares of the samples of each objective."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.config, self.names = config, objectives_of(schema)
        if len(self.names) > config.dim:
            raise ValueError(f"dim is {config.dim}; {len(self.names)} objectives need as many dimensions at least")
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        for tower in TOWERS:
            self.register_buffer(f"{tower}_owner", torch.zeros(config.hidden, config.dim, dtype=torch.int8))
        self.register_buffer("output_owner", torch.zeros(config.dim, dtype=torch.int8))
        self.register_buffer("log_share", torch.zeros(len(self.names), size_of(schema.key("item"))))

    def prepare(self, data: RetrievalData) -> None:
        """Counts the items of each objective too. Raises ValueError where objectives are not nested."""
        super().prepare(data)
        check_nested(data)
        items, marks = torch.from_numpy(data.train.targets[:, 0]), torch.from_numpy(served(data.train))
        counts = torch.zeros(self.log_share.shape[::-1]).double().index_add_(0, items, marks.double()).T
        self.log_share.copy_((counts.clamp(min=1) / counts.sum(dim=1, keepdim=True).clamp(min=1)).log())

    @property
    def objective(self) -> int:
        """The one that is trained, or was trained last."""
        return int(self.step) // 2

    def masked(self) -> Iterator[nn.Parameter]:
        """The weights that objectives divide among themselves."""
        for tower in (self.user_tower, self.item_tower):
            yield from (layer.weight for layer in tower if isinstance(layer, nn.Linear))

    @torch.no_grad()
    def enter(self, step: int) -> None:
        """Begins a stage, where it has not begun: before it recovers an objective gives its smallest weights away."""
        if int(self.step) >= step:
            return
        self.step.fill_(step)
        if step % 2:
            first_user, last_user, first_item, last_item = self.masked()
            objective, tau = step // 2, self.config.tau
            for owner, weight in ((self.user_owner, first_user), (self.item_owner, first_item)):
                give(owner, weight.abs(), objective, tau)
            later = len(self.names) - 1 - objective
            give_outputs(self.output_owner, (last_user, last_item), objective, tau, later)

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        """Vectors of users; a dimension whose objective is not trained yet is 0."""
        return self._all("user", self.of_users(batch))

    def item(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Vectors of items, likewise."""
        return self._all("item", self.of_items(ids))

    def _all(self, tower: str, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        # Each dimension is of one objective, so the sum adds zeros alone and is exact.
        return torch.stack([self.block(tower, x, one) for one in range(self.objective + 1)]).sum(dim=0)

    def block(self, tower: str, x: Float[Tensor, "B D"], objective: int) -> Float[Tensor, "B D"]:
        """u_o or i_o at the dimensions of the objective, 0 at the others; a gradient reaches the weights that the
        objective has, and what the masks do not divide."""
        owner: Int8[Tensor, "H D"] = self.get_buffer(f"{tower}_owner")
        hidden, _, last = self.get_submodule(f"{tower}_tower").children()
        assert isinstance(hidden, nn.Linear)
        weight = torch.where(owner == objective, hidden.weight, hidden.weight.detach())
        inside = nn.functional.linear(x, weight * (owner <= objective), hidden.bias).relu()
        return nn.functional.normalize(last(inside) * (self.output_owner == objective), dim=1)

    def cascade_loss(self, batch: CascadeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the objective that is trained: the softmax of its own score, with margins where one was frozen before."""
        config, objective, targets = self.config, self.objective, batch.met.targets[:, 0]
        size, refused = batch.refused.shape
        items = torch.cat([targets.expand(size, size), batch.refused], dim=1)  # (B, B + R)
        before, scores = self._scores(batch, torch.cat([targets, batch.refused.flatten()]), refused)
        margin = margins(before, before.diagonal(), config.gamma, config.temperature)
        if objective == 0:
            margin = torch.zeros_like(before)
        loss = cascade_loss(before + scores, items, margin, self.log_share[objective][items], config.temperature)
        return loss, {"margin": margin.mean()}

    def _scores(self, batch: CascadeBatch, ids: Tensor, refused: int) -> tuple[Tensor, Tensor]:
        """[B, B + R]: by the objectives before, without a gradient, and by the one that is trained."""
        users, items = self.of_users(batch.met), self.of_items(ids)
        size = len(users)

        def by(objective: int) -> Float[Tensor, "B M"]:
            user, item = self.block("user", users, objective), self.block("item", items, objective)
            own = (user[:, None] * item[size:].reshape(size, refused, item.shape[1])).sum(dim=2)
            return torch.cat([user @ item[:size].T, own], dim=1)

        own = by(self.objective)
        with torch.no_grad():
            before = sum((by(one) for one in range(self.objective)), torch.zeros_like(own))
        return before, own

    def weighed(self, alpha: Float[Tensor, "B O"]) -> Float[Tensor, "B D"]:
        """Alpha of each dimension's objective: what multiplies a user's vector."""
        return alpha.index_select(1, self.output_owner.long())
