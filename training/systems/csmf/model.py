"""CSMF's network: two towers whose weights, and whose output dimensions, are divided among the objectives.

Objective o reads the hidden weights whose owner is o or before it, and the outputs whose owner it is:

    u_o = norm(tower_u(x; owner <= o)[dimensions of o]),  i_o likewise,  s_o(u, i) = <u_o, i_o>

so that what an objective answers cannot change once its weights are frozen. An objective is trained by its own score;
a list that asks for it takes the sum of the scores up to its own, as the logarithm of a product of the cascade's steps
would be. A request weighs them as it likes:

    sum_o alpha_o s_o = <[alpha_o u_o]_o, [i_o]_o>

Biases and the tables are everybody's: they move with the first objective and are frozen with it.

Legend: B samples, D width of vectors, H hidden units, O objectives.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.layers.tower_pair import TowerPair
from training.schema import Schema
from training.systems.csmf.cascaded import Cascaded, Pair
from training.systems.csmf.config import Config
from training.systems.csmf.masks import give, give_outputs


class CSMF(TowerPair, Cascaded):
    """The towers, and who owns which weight of them."""

    user_owner: Tensor
    item_owner: Tensor
    """int8 [H, D]: which objective has a weight of the hidden layer."""
    output_owner: Tensor
    """int8 [D]: which objective has a dimension of both vectors, and the weights that lead to it."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.settle(config, schema)
        if len(self.names) > config.dim:
            raise ValueError(f"dim is {config.dim}; {len(self.names)} objectives need as many dimensions at least")
        for tower in ("user", "item"):
            self.register_buffer(f"{tower}_owner", torch.zeros(config.hidden, config.dim, dtype=torch.int8))
        self.register_buffer("output_owner", torch.zeros(config.dim, dtype=torch.int8))

    def prepare(self, data: RetrievalData) -> None:
        """Counts the items of each objective too. Raises ValueError where objectives are not nested."""
        super().prepare(data)
        self.count(data)

    @property
    def owners(self) -> dict[str, Tensor]:
        """Of the weights of each layer that is divided, int8 [n]; outputs stand for the rows of both last layers."""
        return {"user": self.user_owner.flatten(), "item": self.item_owner.flatten(), "outputs": self.output_owner}

    def masked(self) -> Iterator[nn.Parameter]:
        """The weights that objectives divide among themselves."""
        for layer in (*self.user_tower, *self.item_tower):
            if isinstance(layer, nn.Linear):
                assert isinstance(layer.weight, nn.Parameter)
                yield layer.weight

    @torch.no_grad()
    def enter(self, step: int) -> bool:
        """Before it recovers, an objective gives its smallest weights away."""
        begins = super().enter(step)
        if begins and step % 2:
            first_user, last_user, first_item, last_item = self.masked()
            objective, tau = step // 2, self.config.tau
            for owner, weight in ((self.user_owner, first_user), (self.item_owner, first_item)):
                give(owner, weight.abs(), objective, tau)
            later = len(self.names) - 1 - objective
            give_outputs(self.output_owner, (last_user, last_item), objective, tau, later)
        return begins

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        return self._all("user", self.of_users(batch))

    def item_vectors(self, read: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return self._all("item", read)

    def _all(self, tower: str, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        # Each dimension is of one objective, so the sum adds zeros alone and is exact.
        blocks = [self.block(tower, x, one) * self.is_trained(one) for one in range(len(self.names))]
        return torch.stack(blocks).sum(dim=0)

    def block(self, tower: str, x: Float[Tensor, "B D"], objective: int) -> Float[Tensor, "B D"]:
        """u_o or i_o at the dimensions of the objective, 0 at the others; a gradient reaches the weights that the
        objective has, and what the masks do not divide."""
        owner: Int8[Tensor, "H D"] = self.get_buffer(f"{tower}_owner")
        hidden, _, last = self.get_submodule(f"{tower}_tower").children()
        assert isinstance(hidden, nn.Linear)
        weight = torch.where(owner == objective, hidden.weight, hidden.weight.detach())
        inside = nn.functional.linear(x, weight * (owner <= objective), hidden.bias).relu()
        return nn.functional.normalize(last(inside) * (self.output_owner == objective), dim=1)

    def vectors(self, batch: RetrievalBatch, items: Tensor) -> Callable[[int], Pair]:
        users, of_items = self.of_users(batch), self.of_items(items)
        return lambda objective: (self.block("user", users, objective), self.block("item", of_items, objective))

    def before(self, objective: int) -> range:
        return range(objective)

    def weighed(self, alpha: Float[Tensor, "B O"]) -> Float[Tensor, "B D"]:
        """Implements `training.layers.objective_weights.Weighed`."""
        return alpha.index_select(1, self.output_owner.long())

    def asked(self, objective: int) -> tuple[float, ...]:
        """1 up to the objective's own."""
        return tuple(float(one <= objective) for one in range(len(self.names)))
