"""AutoInt: layers of multi-head self-attention over the fields' vectors.

Song et al., "AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks", CIKM 2019,
https://arxiv.org/abs/1810.11921

Differs from the paper: all layers have the embedding's width, so that heads share it instead of adding to it.

Legend: B batch, F fields, D width, H heads, E = D / H width of a head.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.data.click import FEATURES
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel
from training.schema import Schema
from training.system import System
from training.tasks.click import CLICK


@dataclass(frozen=True, kw_only=True)
class Config(FieldConfig):
    """The paper's 3 layers of 2 heads; `hidden` has no use, as the last layer is linear."""

    layers: int = 3
    """Layers of attention."""
    heads: int = 2
    """Heads of each, a divisor of `dim`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; it must be at least 1")
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")


class InteractingLayer(nn.Module):
    """o_m = ReLU(sum_k softmax_k <W_Q e_m, W_K e_k> W_V e_k + W_res e_m), heads side by side (eq. 5 to 8)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.residual = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, fields: Float[Tensor, "B F D"]) -> Float[Tensor, "B F D"]:
        query, key, value = (self._by_head(map_(fields)) for map_ in (self.query, self.key, self.value))
        share = torch.softmax(query @ key.transpose(-1, -2), dim=-1)  # (B, H, F, F)
        attended = (share @ value).transpose(1, 2).flatten(2)  # (B, F, D)
        return torch.relu(attended + self.residual(fields))

    def _by_head(self, mapped: Float[Tensor, "B F D"]) -> Float[Tensor, "B H F E"]:
        return mapped.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AutoInt(FieldModel):
    """y = w . [o_1, ..., o_F] + b after the last layer (eq. 9 without its sigmoid)."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.layers = nn.Sequential(*(InteractingLayer(config.dim, config.heads) for _ in range(config.layers)))
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(self.num_fields * config.dim, 1)

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        interacted = self.layers(self.embedding(x, keep))
        return self.last(self.dropout(interacted.flatten(1))).squeeze(-1)


SYSTEM = System(
    name="autoint",
    title="AutoInt",
    paper="https://arxiv.org/abs/1810.11921",
    provenance="the paper's model; sizes and regularisation are our design",
    task=CLICK,
    config=Config,
    baseline=None,
    build=AutoInt,
    reads=frozenset({FEATURES}),
)
