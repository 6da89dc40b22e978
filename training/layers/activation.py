"""Target attention without softmax: each event of a history is weighed by a small network, and models that use it.

Legend: B batch, L history, D width, U units of the activation network.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import ClickBatch
from training.layers.ranker import HistoryModel, RankerConfig, Tower
from training.schema import Schema


@dataclass(frozen=True, kw_only=True)
class ActivationConfig(RankerConfig):
    """Sizes of the shared parts and of the activation unit."""

    attention_units: int = 32
    """Hidden units of the activation unit."""


def local_activation(
    weights: Float[Tensor, "B L"], history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"]
) -> Float[Tensor, "B D"]:
    """sum_l a(s_l, t) s_l / n over the valid events, without softmax (Zhou et al. 2018, eq. 3 divided by n)."""
    summed = ((weights * mask)[:, None, :] @ history)[:, 0]
    return summed / mask.sum(dim=1, keepdim=True).clamp(min=1)


class LocalActivation(HistoryModel):
    """The activation unit a(s, t) = w . SiLU(W_s s + W_t t + W_p (s*t)), and the final network over what it weighs."""

    def __init__(self, config: ActivationConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.of_event = nn.Linear(config.dim, config.attention_units, bias=False)
        self.of_target = nn.Linear(config.dim, config.attention_units)
        self.of_product = nn.Linear(config.dim, config.attention_units, bias=False)
        self.weight = nn.Linear(config.attention_units, 1)
        self.tower = Tower(config.dim, config.hidden, config.dropout)

    def interest(
        self, history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"], target: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        """The events under their weights."""
        product = (self.of_product.weight * target[:, None, :]).transpose(1, 2)  # (B, D, U): W_p diag(t), no (s*t)
        unit = history @ (product + self.of_event.weight.T) + self.of_target(target)[:, None, :]
        weights = self.weight(torch.nn.functional.silu(unit)).squeeze(-1)  # (B, L)
        return local_activation(weights, history, mask)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        history, mask, target, profile = self.tables.look_up(batch)
        return self.tower(self.interest(history, mask, target), target, profile)
