"""The scenario of a request's candidates inside a graph.

Legend: C candidates packed over the requests, I items.
"""

import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn

from training.data.click import ClickData


class RequestScenario(nn.Module):
    """What the request carries, or each candidate's own; 0 where the data set has none of both."""

    of_item: Int64[Tensor, " I+1"]

    def __init__(self, data: ClickData) -> None:
        super().__init__()
        scenario = data.source.scenario
        self.name = scenario.field.name if scenario.field and scenario.of_event is not None else None
        self.register_buffer("of_item", torch.from_numpy(scenario.of_item))

    def forward(self, item: Int[Tensor, " C"], named: dict[str, Tensor]) -> Int[Tensor, " C"]:
        """Takes dense ids of items, and the fields that requests carry, [C, 1] each, by name."""
        if self.name in named:
            return named[self.name][:, 0]
        return self.of_item.index_select(0, item)
