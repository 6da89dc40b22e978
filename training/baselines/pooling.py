"""Pooling baselines (our design): the history as a weighted sum of its events, the same for every target.

mean_pooling     every event weighs the same: what a model reaches that knows the history but not what is asked
recency_pooling  one learned weight for each place in the history, as LREA's compression has, and no attention: what
                 LREA reaches beyond it is owed to looking at the target

Legend: B batch, L history, D width.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.ranking import RankingBatch, RankingData
from training.layers.ranker import RankerConfig, Tables, Tower, binary_loss, evaluate, one_stage
from training.system import Schema, System


class Pooling(nn.Module):
    """Average of the events under weights by position, projected like the values of an attention."""

    def __init__(self, config: RankerConfig, schema: Schema, *, learn_weights: bool) -> None:
        super().__init__()
        self.tables = Tables(schema, config.dim)
        self.weight = nn.Parameter(torch.ones(config.max_length), requires_grad=learn_weights)
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        self.tower = Tower(config.dim, config.hidden, config.dropout)

    def prepare(self, data: RankingData) -> None:
        self.tables.prepare(data)

    def forward(self, batch: RankingBatch) -> Float[Tensor, " B"]:
        history, mask, target, profile = self.tables.look_up(batch)
        weights = mask * self.weight[: mask.shape[1]]
        pooled = (weights[:, None, :] @ history)[:, 0] / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return self.tower(self.value(pooled), target, profile)


def _system(name: str, title: str, *, learn_weights: bool) -> System:
    return System(
        name=name,
        title=title,
        paper="",
        provenance="our design",
        config=RankerConfig,
        dataset="ml-100k",
        baseline=None,
        build=partial(Pooling, learn_weights=learn_weights),
        prepare=Pooling.prepare,
        stages=lambda config: (one_stage(config, binary_loss),),
        evaluate=evaluate,
    )


MEAN = _system("mean_pooling", "Mean pooling", learn_weights=False)
RECENCY = _system("recency_pooling", "Recency pooling, the control without attention", learn_weights=True)
