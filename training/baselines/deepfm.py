"""DeepFM: a factorization machine and a network over the same vectors.

Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017,
https://arxiv.org/abs/1703.04247

Differs from the paper: a network of two layers that are smaller than the paper's three of 400, as the sets here are.

Legend: B batch, F fields.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from training.data.click import FEATURES
from training.data.columns import feature_layout
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel, FieldNetwork, LinearTerm, pair_sum
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


class DeepFM(FieldModel):
    """y = y_FM + y_DNN (eq. 1 without its sigmoid)."""

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.linear = LinearTerm(feature_layout(schema))
        self.network = FieldNetwork(self.num_fields * config.dim, config)

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        vectors = self.embedding(x, keep)
        return self.linear(x, keep) + pair_sum(vectors) + self.network(vectors)


SYSTEM = System(
    name="deepfm",
    title="DeepFM",
    paper="https://arxiv.org/abs/1703.04247",
    provenance="the paper's model; sizes and regularisation are our design",
    task=CLICK,
    config=FieldConfig,
    baseline=None,
    build=DeepFM,
    reads=frozenset({FEATURES}),
)
