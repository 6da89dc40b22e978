"""MLP: the network alone over the fields' vectors.

Our design: DEA with its attention off, and the same in all else. What DEA reaches beyond it is owed to its attention.

Legend: B batch, F fields.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from training.data.click import FEATURES
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel, FieldNetwork
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


class MLP(FieldModel):
    """y = MLP([e_1, ..., e_F])."""

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.network = FieldNetwork(self.num_fields * config.dim, config)

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        return self.network(self.embedding(x, keep))


SYSTEM = System(
    name="mlp",
    title="MLP over the fields, DEA's control without attention",
    paper="",
    provenance="our design",
    task=CLICK,
    config=FieldConfig,
    baseline=None,
    build=MLP,
    reads=frozenset({FEATURES}),
)
