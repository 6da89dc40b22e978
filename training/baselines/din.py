"""DIN: target attention over the full history, one weight per event from a small network.

Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, https://arxiv.org/abs/1706.06978

Differs from the paper: SiLU instead of Dice in the activation unit; its input [s, t, s*t] leaves out s - t, which is
linear in s and t; the weighted sum is divided by the number of events, since histories run from 0 to 256; the
embeddings and the final network are those of every ranking system here.

Beside it din_ages, a control (our design): the same with a vector for the age of each event added to the event's.

Legend: B batch, L history, D width, U units of the activation network.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import AGES, HISTORY, ClickBatch
from training.layers.ages import AgeEmbedding
from training.layers.ranker import HistoryModel, RankerConfig, Tower
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


@dataclass(frozen=True, kw_only=True)
class Config(RankerConfig):
    """Sizes of the shared parts and of the activation unit."""

    attention_units: int = 32
    """Hidden units of the activation unit."""


def local_activation(
    weights: Float[Tensor, "B L"], history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"]
) -> Float[Tensor, "B D"]:
    """sum_l a(s_l, t) s_l / n over the valid events, without softmax (DIN, eq. 3 divided by n)."""
    summed = ((weights * mask)[:, None, :] @ history)[:, 0]
    return summed / mask.sum(dim=1, keepdim=True).clamp(min=1)


class DIN(HistoryModel):
    """The activation unit a(s, t) = w . SiLU(W_s s + W_t t + W_p (s*t))."""

    def __init__(self, config: Config, schema: Schema, *, by_age: bool = False) -> None:
        super().__init__(config, schema)
        self.ages = AgeEmbedding(config.dim) if by_age else None
        self.of_event = nn.Linear(config.dim, config.attention_units, bias=False)
        self.of_target = nn.Linear(config.dim, config.attention_units)
        self.of_product = nn.Linear(config.dim, config.attention_units, bias=False)
        self.weight = nn.Linear(config.attention_units, 1)
        self.tower = Tower(config.dim, config.hidden, config.dropout)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        history, mask, target, profile = self.tables.look_up(batch)
        if self.ages is not None:
            history = history + self.ages(batch.history_ages)
        product = (self.of_product.weight * target[:, None, :]).transpose(1, 2)  # (B, D, U): W_p diag(t), no (s*t)
        unit = history @ (product + self.of_event.weight.T) + self.of_target(target)[:, None, :]
        weights = self.weight(torch.nn.functional.silu(unit)).squeeze(-1)  # (B, L)
        return self.tower(local_activation(weights, history, mask), target, profile)


SYSTEM = System(
    name="din",
    title="Deep Interest Network",
    paper="https://arxiv.org/abs/1706.06978",
    provenance="attention from the paper; embeddings and final network are our design",
    task=CLICK,
    config=Config,
    baseline=None,
    build=DIN,
    reads=frozenset({HISTORY}),
    quick={"max_length": 12},
)

WITH_AGES = replace(
    SYSTEM,
    name="din_ages",
    title="Deep Interest Network with the events' ages, a control",
    provenance="attention from the paper; ages, embeddings and final network are our design",
    build=partial(DIN, by_age=True),
    reads=frozenset({HISTORY, AGES}),
)
