"""FM: every pair of fields interacts by the inner product of their vectors.

Rendle, "Factorization Machines", ICDM 2010, https://doi.org/10.1109/ICDM.2010.127

Follows the paper; the vectors are those of every model over fields here, so ids that training hardly saw share one.

Legend: B batch, F fields.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from training.data.click import FEATURES
from training.data.columns import feature_layout
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel, LinearTerm, pair_sum
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


class FM(FieldModel):
    """y = w_0 + sum_i w_i + sum_{i<j} <v_i, v_j> (eq. 1 for one id per field)."""

    def __init__(self, config: FieldConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.linear = LinearTerm(feature_layout(schema))

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        return self.linear(x, keep) + pair_sum(self.embedding(x, keep))


SYSTEM = System(
    name="fm",
    title="Factorization machine",
    paper="https://doi.org/10.1109/ICDM.2010.127",
    provenance="the paper's model; sizes and regularisation are our design",
    task=CLICK,
    config=FieldConfig,
    baseline=None,
    build=FM,
    reads=frozenset({FEATURES}),
)
