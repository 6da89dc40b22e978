"""DeepFM: a factorization machine and a network over the same vectors.

Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017,
https://arxiv.org/abs/1703.04247

Differs from the paper: a network of two layers that are smaller than the paper's three of 400, as the sets here are.

Legend: B batch, F fields.
"""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from training.layers.fields import (
    FieldConfig,
    FieldModel,
    FieldNetwork,
    LinearTerm,
    evaluate,
    field_stage,
    pair_sum,
)
from training.schema import Schema
from training.system import System


class DeepFM(FieldModel):
    """y = y_FM + y_DNN (eq. 1 without its sigmoid)."""

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.linear = LinearTerm(self.embedding.sizes)
        self.network = FieldNetwork(len(schema.fields) * config.dim, config)

    def logits(self, ids: Int64[Tensor, "B F"], keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        vectors = self.embedding(ids, keep)
        return self.linear(ids, keep) + pair_sum(vectors) + self.network(vectors)


SYSTEM = System(
    name="deepfm",
    title="DeepFM",
    paper="https://arxiv.org/abs/1703.04247",
    provenance="the paper's model; sizes and regularisation are our design",
    config=FieldConfig,
    dataset="ml-100k-fields",
    baseline=None,
    build=DeepFM,
    prepare=DeepFM.prepare,
    stages=lambda config: (field_stage(config),),
    evaluate=evaluate,
)
