"""Pooling baselines (our design): the history as a weighted sum of its events, the same for every target.

mean_pooling     every event weighs the same: what a model reaches that knows the history but not what is asked
recency_pooling  one learned weight for each place in the history, starting at 1 / place, and no attention: what LREA
                 reaches beyond it is not owed to the order of the events alone

Legend: B batch, L history, D width.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import HISTORY, ClickBatch
from training.layers.ranker import HistoryModel, RankerConfig, Tower
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


class Pooling(HistoryModel):
    """Average of the events under weights by position, projected like the values of an attention."""

    def __init__(self, config: RankerConfig, schema: Schema, *, by_recency: bool) -> None:
        super().__init__(config, schema)
        start = -torch.log(torch.arange(1.0, config.max_length + 1)) * by_recency
        self.log_weight = nn.Parameter(start, requires_grad=by_recency)
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        self.tower = Tower(config.dim, config.hidden, config.dropout)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        history, mask, target, profile = self.tables.look_up(batch)
        weights = mask * self.log_weight[: mask.shape[1]].exp()
        pooled = (weights[:, None, :] @ history)[:, 0] / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return self.tower(self.value(pooled), target, profile)


def _system(name: str, title: str, *, by_recency: bool) -> System:
    return System(
        name=name,
        title=title,
        paper="",
        provenance="our design",
        task=CLICK,
        config=RankerConfig,
        baseline=None,
        build=partial(Pooling, by_recency=by_recency),
        reads=frozenset({HISTORY}),
        quick={"max_length": 12},
    )


MEAN = _system("mean_pooling", "Mean pooling", by_recency=False)
RECENCY = _system("recency_pooling", "Recency pooling, the control without attention", by_recency=True)
