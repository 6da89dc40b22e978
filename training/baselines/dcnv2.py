"""DCN-v2: crosses with a full matrix beside a deep network, over the fields' vectors.

Wang et al., "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems", WWW
2021, https://arxiv.org/abs/2008.13535

Differs from the paper: the two parts are added as logits, in place of one last layer over both; sizes are ours.

Legend: B batch, F fields, D width, X = F D the width of all vectors side by side.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.data.click import FEATURES
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel, FieldNetwork
from training.schema import Schema
from training.settings import or_none
from training.system import System
from training.tasks.click import CLICK


@dataclass(frozen=True, kw_only=True)
class Config(FieldConfig):
    """What all models over fields have, and the crosses."""

    crosses: int = or_none(3)
    """Layers of the cross network; 0 leaves a linear model beside the deep network, the control."""


class DCNv2(FieldModel):
    """y = w . x_L + MLP(x_0) with x_{l+1} = x_0 * (W_l x_l + b_l) + x_l (eq. 1)."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        width = self.num_fields * config.dim
        self.crosses = nn.ModuleList(nn.Linear(width, width) for _ in range(config.crosses))
        self.last = nn.Linear(width, 1)
        self.network = FieldNetwork(width, config)

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        vectors = self.embedding(x, keep)
        return self.last(self.crossed(vectors.flatten(1))).squeeze(-1) + self.network(vectors)

    def crossed(self, first: Float[Tensor, "B X"]) -> Float[Tensor, "B X"]:
        """x_L."""
        found = first
        for cross in self.crosses:
            found = torch.addcmul(found, first, cross(found))
        return found


SYSTEM = System(
    name="dcnv2",
    title="DCN-v2",
    paper="https://arxiv.org/abs/2008.13535",
    provenance="the paper's crosses; the sum of the parts and sizes are our design",
    task=CLICK,
    config=Config,
    baseline=None,
    build=DCNv2,
    reads=frozenset({FEATURES}),
)
