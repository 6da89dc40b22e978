"""What models of many scenarios share: a vector of each scenario, gates by it, and the mean of a history.

Legend: B batch, L history, D width, S scenarios with the unknown one, X and E widths of a gate's input and scene.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.data.scenario import scenario_field
from training.layers.items import IdEmbedding
from training.layers.ranker import Embedded, HistoryModel, RankerConfig
from training.schema import UNKNOWN, Field, Schema, size_of
from training.warm_start import Axis

_NOWHERE = Field(name="scenario", role="event", kind="id", uses=("scenario",), cardinality=1, values=(UNKNOWN,))


def scenario_axis(schema: Schema) -> Axis:
    """Rows by scenario; of one scenario, the unknown, where no field says it."""
    return Axis((scenario_field(schema) or _NOWHERE,))


class ScenarioModel(HistoryModel):
    """Base of models that know a sample's scenario. `logits` is what they make of vectors and scenarios."""

    def __init__(self, config: RankerConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.axis = scenario_axis(schema)
        self.num_scenarios = size_of(self.axis.fields[0])

    def prepare(self, data: ClickData) -> None:
        """Fill all tables by scenario too."""
        super().prepare(data)
        counts = scenario_counts(data, self.num_scenarios)
        for module in self.modules():
            if isinstance(module, IdEmbedding) and module.axis == self.axis:
                module.prepare(counts)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        return self.logits(self.tables.look_up(batch), batch.scenario)

    def logits(self, embedded: Embedded, scenario: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Of the vectors of a batch; a scenario that is none is the unknown one."""
        raise NotImplementedError


def scene_vectors(axis: Axis, dim: int) -> IdEmbedding:
    """A vector of each scenario."""
    vectors = IdEmbedding(axis, dim)
    nn.init.normal_(vectors.weight, std=0.1)
    return vectors


def scenario_counts(data: ClickData, num_scenarios: int) -> np.ndarray:
    """int64 [S]: training samples of each scenario; what is none counts as the unknown."""
    places = data.train.places
    found = data.source.scenario.of(places, data.log.item[places])
    return np.bincount(np.where((found >= 0) & (found < num_scenarios), found, 0), minlength=num_scenarios)


class Gate(nn.Module):
    """x * 2 sigmoid(W_2 relu(W_1 [scene ; x])), x without its gradient inside: between nothing and twice x. It starts
    as x itself."""

    def __init__(self, scene: int, width: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(scene + width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def strength(self, scene: Float[Tensor, "B E"], x: Float[Tensor, "B X"]) -> Float[Tensor, "B X"]:
        """In (0, 2)."""
        return 2 * torch.sigmoid(self.second(torch.relu(self.first(torch.cat([scene, x.detach()], dim=1)))))

    def forward(self, scene: Float[Tensor, "B E"], x: Float[Tensor, "B X"]) -> Float[Tensor, "B X"]:
        return x * self.strength(scene, x)


def masked_mean(history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"]) -> Float[Tensor, "B D"]:
    """Mean of the events of each history; zero for the empty one."""
    return (mask[:, None, :] @ history)[:, 0] / mask.sum(dim=1, keepdim=True).clamp(min=1)
