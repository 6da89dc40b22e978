"""A generator of rows: which value a field has, and whether the label is 1, given the fields that are not masked.

The row is a set of tokens, one for each field and one for the label. A stack of HSTU blocks takes them through, each
token seeing all others (Zhai et al., "Actions Speak Louder than Words", ICML 2024, https://arxiv.org/abs/2402.17152).
Each field has a vector that stands for its mask. Of a token's last state a head of the field makes a direction; the
values of the field are as likely as they lie near it by cosine.

Legend: B rows, F fields, N = F + 1 tokens, the label's last, D width, H heads, E = D / H.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel
from training.schema import Schema

_SPREAD = 0.01
"""Of first vectors, as of the fields' own."""


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(FieldConfig):
    """What is generated and how, and what of it predicts clicks; `hidden` has no use."""

    layers: int = 2
    """Blocks of the network."""
    heads: int = 2
    """Heads of each block, a divisor of `dim`."""
    temperature: float = 0.1
    """Divisor of cosines where they become logits."""
    pretraining: Literal["diffusion", "fixed", "none"] = "diffusion"
    """Masks of the generative stage: by the step of a diffusion and with the label as one more token; a fixed share of
    them and no label; or no such stage, the same network from scratch."""
    transfer: Literal["all", "embeddings"] = "all"
    """Weights with which the second stage goes on: all, or the fields' vectors with a fresh network."""
    diffusion_steps: int = 50
    """T: steps until everything is masked; a row's step is drawn evenly."""
    mask_rate: float = 0.3
    """Share of masked fields where it is fixed."""
    label_rate: float = 0.5
    """Share of the labels that are shown; of the others the loss asks."""
    pretraining_epochs: int = 6
    """Passes of the generative stage at most."""
    pretraining_rate: float = 3e-3
    """Rate of AdamW in that stage."""
    pretraining_decay: float = 0.05
    """Decay of AdamW in that stage."""
    fine_tuning: float = 0.3
    """Rate of the second stage as a share of `learning_rate` where every weight goes on."""
    labels: float = 1.0
    """Share of the training rows that have a label; the generative stage sees all rows."""
    field_balance: bool = False
    """Learnt weights of the fields' losses, as in HeteGenCTR, https://arxiv.org/abs/2605.24986."""
    shuffled: bool = False
    """Shuffling of each field by itself over the rows of a batch in the generative stage, so that there is nothing to
    learn but how often each value is: a control."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        if self.layers < 1 or self.diffusion_steps < 1:
            raise ValueError(f"layers ({self.layers}) and diffusion_steps ({self.diffusion_steps}) must be at least 1")
        if not 0 < self.mask_rate <= 1 or not 0 <= self.label_rate <= 1:
            raise ValueError(f"mask_rate ({self.mask_rate}) and label_rate ({self.label_rate}) are shares, at most 1")
        if not 0 < self.labels <= 1 or self.temperature <= 0:
            raise ValueError(f"labels ({self.labels}) must be in (0, 1], temperature ({self.temperature}) above 0")


class HSTUBlock(nn.Module):
    """X + W_2 (norm(SiLU(Q K^T) V / N) * U) with U, V, Q, K = SiLU(W_1 norm(X)): no softmax, and no order of tokens."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mixed, self.out = nn.Linear(dim, 4 * dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"], scale: Float[Tensor, " N"] | None = None) -> Float[Tensor, "B N D"]:
        """`scale` is a factor of each token's query."""
        gate, value, query, key = nn.functional.silu(self.mixed(self.before(x))).chunk(4, dim=-1)
        query = query if scale is None else query * scale[:, None]
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        share = nn.functional.silu(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5)  # (B, H, N, N)
        attended = (share @ value).transpose(1, 2).flatten(2) / x.shape[1]
        return x + self.dropout(self.out(self.after(attended) * gate))


class Denoiser(nn.Module):
    """Tokens of a row, some of them masked, to their states, and the heads of the fields and of the label."""

    def __init__(self, num_fields: int, config: GeneratorConfig) -> None:
        super().__init__()
        dim, self.temperature = config.dim, config.temperature
        self.places = nn.Parameter(_SPREAD * torch.randn(num_fields + 1, dim))
        """Which field a token is of."""
        self.masks = nn.Parameter(_SPREAD * torch.randn(num_fields + 1, dim))
        self.labels = nn.Parameter(_SPREAD * torch.randn(2, dim))
        self.blocks = nn.ModuleList(HSTUBlock(dim, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)
        self.field_heads = nn.Parameter(dim**-0.5 * torch.randn(num_fields, dim, dim))
        self.label_head = nn.Linear(dim, dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(()))
        self.log_weights = nn.Parameter(torch.zeros(num_fields)) if config.field_balance else None
        """s_k of HeteGenCTR."""

    def states(
        self, fields: Float[Tensor, "B F D"], label: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B N D"]:
        """`label` is 0, 1, or NaN where it is hidden; without one it is hidden everywhere."""
        hidden = self.masks[-1].expand(fields.shape[0], -1)
        if label is not None:
            shown = self.labels[(label > 0).long()]
            hidden = torch.where(label.isnan()[:, None], hidden, shown)
        tokens = torch.cat([fields, hidden[:, None]], dim=1) + self.places
        scale = None if self.log_weights is None else torch.exp(-0.5 * nn.functional.pad(self.log_weights, (0, 1)))
        for block in self.blocks:
            tokens = block(tokens, scale)
        return self.norm(tokens)

    def directions(self, states: Float[Tensor, "B N D"]) -> Float[Tensor, "B F D"]:
        """G_k: where the value of each field is expected, of length 1."""
        return normal(torch.einsum("bfd,fde->bfe", states[:, :-1], self.field_heads))

    def logit(self, states: Float[Tensor, "B N D"]) -> Float[Tensor, " B"]:
        """(cos(G_y, E_y[1]) - cos(G_y, E_y[0])) / temperature + b."""
        labels = normal(self.labels)
        return normal(self.label_head(states[:, -1])) @ (labels[1] - labels[0]) / self.temperature + self.bias


class FieldGenerator(FieldModel):
    """The click logit of a row whose label is hidden; a field that is not kept is masked."""

    def __init__(self, config: GeneratorConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.denoiser = Denoiser(self.num_fields, config)
        self.first = Denoiser(self.num_fields, config) if config.transfer == "embeddings" else None
        """Network of the generative stage where it does not go on."""

    @property
    def generator(self) -> Denoiser:
        """The network of the generative stage."""
        return self.first or self.denoiser

    def masked(self, fields: Float[Tensor, "B F D"], masks: Bool[Tensor, "B F"]) -> Float[Tensor, "B F D"]:
        """The vectors as the generator sees them."""
        return torch.where(masks[..., None], self.generator.masks[:-1], fields)

    def logits(self, x: Features, keep: Bool[Tensor, "B F"] | None = None) -> Float[Tensor, " B"]:
        fields = self.embedding(x)
        if keep is not None:
            fields = torch.where(keep[..., None], fields, self.denoiser.masks[:-1])
        return self.denoiser.logit(self.denoiser.states(fields))


def normal(vectors: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
    """The vectors with length 1; one of length 0 stays."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-6)
