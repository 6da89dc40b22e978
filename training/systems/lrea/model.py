"""LREA's trained module: configuration, parameters, the training form, and the state it absorbs to.

Legend: B batch, L history, L* longest history, R rank, H heads, D width, E and V widths of a head.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch
from training.layers.ranker import HistoryModel, RankerConfig, Tower
from training.schema import Schema
from training.systems.lrea import attention


@dataclass(frozen=True, kw_only=True)
class Config(RankerConfig):
    """Sizes are ours, the paper's are unknown. MovieLens-100k's longest history has 737 events."""

    heads: int = 2
    """Heads of attention, a divisor of `dim`."""
    rank: int = 16
    """Rows to which a history is compressed."""
    compression: Literal["static", "adaptive"] = "static"
    """Form of compression: `static`, W_dn and W_up by position; `adaptive`, softmax slots from the content (our
    design)."""
    layout: Literal["factored", "absorbed"] = "factored"
    """Tensors prestored for a user: Kc and Vc, or their product M with W_Q."""
    non_negativity: float = 0.3
    """Weight of the non-negativity loss."""
    warm_up: float = 0.1
    """Share of training without that loss; then it grows linearly to its weight over as long again."""

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ValueError(f"heads is {self.heads}; it must be at least 1")
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        if not 1 <= self.rank <= self.max_length:
            raise ValueError(f"rank must lie in 1..max_length ({self.max_length}), not {self.rank}")


class Prediction(NamedTuple):
    """Training form: logits [B], and the attention scores that the non-negativity loss looks at."""

    logits: Float[Tensor, " B"]
    scores: Float[Tensor, "B H L"]
    mask: Float[Tensor, "B L"]


class LREA(HistoryModel):
    """Low-rank attention over the whole history in front of the shared final network. What is served, and so `forward`,
    leaves the ReLU out: only without it can attention be absorbed."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.config = config
        self.query = nn.Linear(config.dim, config.dim, bias=False)
        self.key = nn.Linear(config.dim, config.dim, bias=False)
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.heads))
        self.tower = Tower(config.dim, config.hidden, config.dropout)
        if config.compression == "static":
            down, up = attention.segment_pooling(config.max_length, config.rank)
            self.down, self.up = nn.Parameter(down), nn.Parameter(up)
        else:
            self.to_slots = nn.Linear(config.dim, config.rank)
            self.from_slots = nn.Linear(config.dim, config.rank)

    def matrices(
        self, history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "*B R L"], Float[Tensor, "*B L R"]]:
        """W_dn and W_up of a batch: cut to its length (static), or made from its content (adaptive)."""
        if self.config.compression == "static":
            longest = history.shape[1]
            return self.down[:, :longest], self.up[:longest]
        logits = self.to_slots(history) + (mask[:, :, None] - 1) * 1e9
        return torch.softmax(logits, dim=1).transpose(1, 2), self.from_slots(history)

    def predict(self, batch: ClickBatch, *, linear: bool = False) -> Prediction:
        """The training form; `linear` leaves the ReLU of eq. (4) out, which is what absorption serves.

        S~ is a product with R in the middle, so eqs. (2) to (4) are computed from its factors: O(L R), not O(L R D).
        """
        embedded = self.tables.look_up(batch)
        down, up = self.matrices(embedded.history, embedded.mask)
        compressed = attention.compress(down, embedded.mask[:, :, None] * embedded.history)
        query, key, value = (
            projection(x).unflatten(-1, (self.config.heads, -1))
            for projection, x in ((self.query, embedded.target), (self.key, compressed), (self.value, compressed))
        )
        scores = attention.factored_scores(query, key, up, self.bias)
        weights = scores if linear else torch.relu(scores)
        interest = attention.factored_sum(weights, value, up, embedded.mask)
        return Prediction(self.tower(interest, embedded.target, embedded.profile), scores, embedded.mask)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        return self.predict(batch, linear=True).logits

    def absorb(
        self, history: Float[Tensor, "B L D"], mask: Float[Tensor, "B L"], count: Int[Tensor, " B"]
    ) -> attention.Absorbed:
        """Eq. (5) for a batch of histories padded to any length up to L*."""
        down, up = self.matrices(history, mask)
        compressed = attention.compress(down, mask[:, :, None] * history)
        masked_up = mask[:, :, None] * up  # (B, L, R)
        return attention.absorb(
            compressed,
            masked_up.transpose(1, 2) @ masked_up,
            masked_up.sum(dim=1),
            count.to(history.dtype),
            (self.key.weight.T, self.value.weight.T, self.bias),
        )


def lrea_loss(module: nn.Module, batch: ClickBatch, weight: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy + `weight` * negative share of the attention's mass."""
    assert isinstance(module, LREA)
    prediction = module.predict(batch)
    entropy = nn.functional.binary_cross_entropy_with_logits(prediction.logits, batch.label)
    share = attention.negative_share(prediction.scores, prediction.mask)
    scale = (prediction.scores.abs() * prediction.mask[:, None, :]).sum() / prediction.mask.sum().clamp(min=1)
    logged = {"loss": entropy.detach(), "negative_share": share.detach(), "attention": scale.detach()}
    return entropy + weight * share, logged


def non_negativity_weight(config: Config, done: float) -> float:
    """0 while `done` < warm_up, then linear to the configured weight at 2 * warm_up."""
    if config.warm_up == 0:
        return config.non_negativity
    return config.non_negativity * min(max(done / config.warm_up - 1, 0.0), 1.0)
