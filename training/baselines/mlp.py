"""MLP: the network alone over the fields' vectors.

Our design: DEA with its attention off, and the same in all else. What DEA reaches beyond it is owed to its attention.

Legend: B batch, F fields.
"""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from training.layers.fields import FieldConfig, FieldModel, FieldNetwork, evaluate, field_stage
from training.schema import Schema
from training.system import System


class MLP(FieldModel):
    """y = MLP([e_1, ..., e_F])."""

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.network = FieldNetwork(len(schema.fields) * config.dim, config)

    def logits(self, ids: Int64[Tensor, "B F"], keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        return self.network(self.embedding(ids, keep))


SYSTEM = System(
    name="mlp",
    title="MLP over the fields, DEA's control without attention",
    paper="",
    provenance="our design",
    config=FieldConfig,
    dataset="ml-100k-fields",
    baseline=None,
    build=MLP,
    prepare=MLP.prepare,
    stages=lambda config: (field_stage(config),),
    evaluate=evaluate,
)
