"""Shared bottom: one layer for all scenarios, then a tower for each.

Caruana, "Multitask Learning", Machine Learning 28, 1997, https://doi.org/10.1023/A:1007379606734

Differs from the paper: scenarios stand for tasks, so a sample goes through the tower of its own scenario alone; the
bottom is one layer over the mean of the history, the target, their product and the profile. A scenario that training
never met has the mean of the towers, by training samples. Sizes are ours.

Legend: B batch, L history, D width, S scenarios, K and M hidden units.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import HISTORY
from training.layers.items import IdEmbedding, known
from training.layers.ranker import Embedded, RankerConfig
from training.layers.scenarios import ScenarioModel, masked_mean
from training.needs import SCENARIOS
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


class Towers(nn.Module):
    """logit of each scenario = w . relu(W x + b) + c, the weights of all scenarios in one table."""

    def __init__(self, model: ScenarioModel, width: int, hidden: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.sizes = (width * hidden, hidden, hidden, 1)
        self.weights = IdEmbedding(model.axis, sum(self.sizes))
        nn.init.normal_(self.weights.weight, std=width**-0.5)

    def forward(self, x: Float[Tensor, "B K"], scenario: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        first, shift, last, bias = self.weights.table().split(self.sizes, dim=1)
        hidden = torch.relu(x @ first.unflatten(1, (self.width, self.hidden)) + shift[:, None])  # (S, B, M)
        logits = (hidden * last[:, None]).sum(dim=2) + bias  # (S, B)
        return logits.T.gather(1, known(scenario, logits.shape[0])[:, None]).squeeze(1)


class SharedBottom(ScenarioModel):
    """Towers of the scenarios over relu(W [O, T, O*T, profile])."""

    def __init__(self, config: RankerConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.bottom = nn.Linear(4 * config.dim, config.hidden[0])
        self.dropout = nn.Dropout(config.dropout)
        self.towers = Towers(self, *config.hidden)

    def logits(self, embedded: Embedded, scenario: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        interest = masked_mean(embedded.history, embedded.mask)
        parts = [interest, embedded.target, interest * embedded.target, embedded.profile]
        return self.towers(self.dropout(torch.relu(self.bottom(torch.cat(parts, dim=1)))), scenario)


SYSTEM = System(
    name="shared_bottom",
    title="Shared bottom with a tower for each scenario",
    paper="https://doi.org/10.1023/A:1007379606734",
    provenance="one layer for all, a head for each from the paper; scenarios as tasks, inputs and sizes are our design",
    task=CLICK,
    config=RankerConfig,
    baseline=None,
    build=SharedBottom,
    reads=frozenset({HISTORY}),
    needs=(SCENARIOS,),
    quick={"max_length": 12},
)
