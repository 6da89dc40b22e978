"""What CSMF is shown against: the same data, negatives and softmax, with no masks, or with towers of their own.

Legend: B samples, D width of vectors, O objectives.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.layers.tower_pair import TowerPair
from training.schema import Schema
from training.systems.csmf.cascaded import Cascaded, Pair
from training.systems.csmf.config import Config


class OneVector(TowerPair, Cascaded):
    """Two plain towers for all objectives: trained on one after the other, on all at once, or on the last alone.

    They have one list for whatever is asked.
    """

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.settle(config, schema)
        self.step.fill_(2 * len(self.names) - 2)  # all objectives have a list from the start

    def prepare(self, data: RetrievalData) -> None:
        """Counts the items of each objective too. Raises ValueError where objectives are not nested."""
        super().prepare(data)
        self.count(data)

    def vectors(self, batch: RetrievalBatch, items: Tensor) -> Callable[[int], Pair]:
        both = self.users(batch), self.item(items)
        return lambda _objective: both

    def asked(self, objective: int) -> tuple[float, ...]:
        return (1.0,) * len(self.names)


class Narrow(Cascaded):
    """A pair of towers for each objective, with tables of their own; their vectors together are D wide."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.settle(config, schema)
        count = len(self.names)
        if count > config.dim:
            raise ValueError(f"dim is {config.dim}; {count} objectives need as many dimensions at least")
        self.widths = [config.dim // count + (place < config.dim % count) for place in range(count)]
        self.pairs = nn.ModuleList(TowerPair(replace(config, dim=width), schema) for width in self.widths)

    def prepare(self, data: RetrievalData) -> None:
        """Each pair, and the items of each objective. Raises ValueError where objectives are not nested."""
        for place in range(len(self.names)):
            self.pair(place).prepare(data)
        self.count(data)

    def pair(self, objective: int) -> TowerPair:
        """The towers of an objective."""
        found = self.pairs[objective]
        assert isinstance(found, TowerPair)
        return found

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        return self._all(lambda pair: pair.users(batch))

    def items(self) -> Float[Tensor, "N+1 D"]:
        return self._all(lambda pair: pair.items())

    def _all(self, vectors: Callable[[TowerPair], Tensor]) -> Tensor:
        found = [vectors(self.pair(place)) * self.is_trained(place) for place in range(len(self.names))]
        return torch.cat(found, dim=1)

    def vectors(self, batch: RetrievalBatch, items: Tensor) -> Callable[[int], Pair]:
        return lambda objective: (self.pair(objective).users(batch), self.pair(objective).item(items))

    def weighed(self, alpha: Float[Tensor, "B O"]) -> Float[Tensor, "B D"]:
        """Implements `training.layers.objective_weights.Weighed`."""
        widths = torch.tensor(self.widths, device=alpha.device)
        return alpha.repeat_interleave(widths, dim=1)

    def asked(self, objective: int) -> tuple[float, ...]:
        """1 for the objective's own."""
        return tuple(float(one == objective) for one in range(len(self.names)))
