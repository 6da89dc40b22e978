"""Mean pooling: the history as the plain average of its events, the same for every target (our design).

The floor under every attention: what a model reaches that knows the history but does not look at the target.

Legend: B batch, L history, D width.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from training.data.ranking import RankingBatch, RankingData
from training.layers.ranker import RankerConfig, Tables, Tower, binary_loss, evaluate, one_stage
from training.system import Schema, System


@dataclass(frozen=True, kw_only=True)
class Config(RankerConfig):
    """Sizes of the shared parts."""


class MeanPooling(nn.Module):
    """Average of the events, projected like the values of an attention."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.tables = Tables(schema, config.dim)
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        self.tower = Tower(config.dim, config.hidden, config.dropout)

    def prepare(self, data: RankingData) -> None:
        self.tables.prepare(data)

    def forward(self, batch: RankingBatch) -> Float[Tensor, " B"]:
        history, mask, target, profile = self.tables.look_up(batch)
        mean = (mask[:, None, :] @ history)[:, 0] / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return self.tower(self.value(mean), target, profile)


SYSTEM = System(
    name="mean_pooling",
    title="Mean pooling",
    paper="",
    provenance="our design",
    config=Config,
    dataset="ml-100k",
    baseline=None,
    build=MeanPooling,
    prepare=MeanPooling.prepare,
    stages=lambda config: (one_stage(config, binary_loss),),
    evaluate=evaluate,
)
