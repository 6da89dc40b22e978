"""Pre-norm transformer blocks that are quick on a CPU and export to ONNX: plain products, softmax, additive masks.

Our design, after Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762 and, for positions
of steps, Su et al., "RoFormer", 2021, https://arxiv.org/abs/2104.09864.

Legend: *N leading axes, Q queries, S keys, L items of a history, A paths of a request, T steps of a path, d width,
H heads, e = d / H.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

MASKED = -1e9
"""Added to the logit of what must not be seen; finite, so that a row without anything to see is no NaN."""
_ROTATION_BASE = 10_000.0
_BATCHED = 4
"""Axes of queries with one leading axis."""


class KeysValues(NamedTuple):
    """What attention looks at, projected."""

    keys: Float[Tensor, "*N H S e"]
    values: Float[Tensor, "*N H S e"]


class Attention(nn.Module):
    """Multi-head attention whose keys and values are computed apart, so that they can be kept."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim is {dim}, must be a multiple of heads, which is {heads}")
        self.heads = heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def queries(self, x: Float[Tensor, "*N Q d"]) -> Float[Tensor, "*N H Q e"]:
        return self._split(self.query(x))

    def keys_values(self, x: Float[Tensor, "*N S d"]) -> KeysValues:
        return KeysValues(self._split(self.key(x)), self._split(self.value(x)))

    def attend(
        self,
        queries: Float[Tensor, "*N H Q e"],
        seen: KeysValues,
        bias: Float[Tensor, "*M Q S"] | None,
        by_head: Float[Tensor, "*N H Q S"] | None = None,
    ) -> Float[Tensor, "*N Q d"]:
        """The attended values; without a bias everything is seen."""
        if (
            self.training
            and bias is not None
            and queries.ndim == _BATCHED
            and not (by_head is not None and by_head.requires_grad)
        ):
            # A third of the time, forward and back; what is served keeps the plain form, which exports.
            mask = bias.unsqueeze(-3) if by_head is None else bias.unsqueeze(-3) + by_head
            mixed = nn.functional.scaled_dot_product_attention(
                queries, *seen, attn_mask=mask.expand(len(queries), -1, -1, -1)
            )
        else:
            mixed = self.weights(queries, seen.keys, bias, by_head) @ seen.values
        return self.output(mixed.transpose(-3, -2).flatten(-2))

    def weights(
        self,
        queries: Float[Tensor, "*N H Q e"],
        keys: Float[Tensor, "*N H S e"],
        bias: Float[Tensor, "*M Q S"] | None,
        by_head: Float[Tensor, "*N H Q S"] | None = None,
    ) -> Float[Tensor, "*N H Q S"]:
        """How much of each place a query takes; `bias` is added to the logits of every head, `by_head` to its own."""
        logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
        for added in (None if bias is None else bias.unsqueeze(-3), by_head):
            logits = logits if added is None else logits + added
        return logits.softmax(-1)

    def alone(self, values: Float[Tensor, "*N H 1 e"]) -> Float[Tensor, "*N 1 d"]:
        """What `attend` answers where there is but one place to see: all of it."""
        return self.output(values.transpose(-3, -2).flatten(-2))

    def forward(
        self,
        x: Float[Tensor, "*N Q d"],
        k: Tensor,
        v: Tensor,
        bias: Float[Tensor, "*M Q S"],
        by_head: Float[Tensor, "*N H Q S"] | None = None,
    ) -> Float[Tensor, "*N Q d"]:
        """`x` looks at keys and values [*N, H, S, e]."""
        return self.attend(self.queries(x), KeysValues(k, v), bias, by_head)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear; four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward, each behind a LayerNorm of its input and added to it."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(dim, heads), FeedForward(dim)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "*N L d"],
        bias: Float[Tensor, "*M L L"],
        by_head: Float[Tensor, "*N H L L"] | None = None,
    ) -> Float[Tensor, "*N L d"]:
        """`bias` is added to the logits of every head, `by_head` to its own."""
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, *self.attention.keys_values(normed), bias, by_head))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class DecoderBlock(nn.Module):
    """Self-attention over the steps of a path, cross-attention to a memory that all paths of a request share,
    feed-forward; each behind a LayerNorm of its input and added to it."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention, self.cross, self.feed_forward = Attention(dim, heads), Attention(dim, heads), FeedForward(dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B A T d"],
        start: int,
        past: KeysValues | None,
        memory: KeysValues,
        memory_bias: Float[Tensor, "B Q S"],
    ) -> tuple[Float[Tensor, "B A T d"], KeysValues]:
        """Steps `start` .. start+T-1 of every path, given keys and values [B, A, H, start, e] of the steps before.

        `memory` [B, H, S, e]; `memory_bias` has Q = A * T rows or 1. Returns the steps' outputs, and the keys and
        values of all steps so far, for the next call's `past`.
        """
        normed = self.norms[0](x)
        fresh = self.attention.keys_values(normed)
        seen = KeysValues(rotated(fresh.keys, start), fresh.values)
        if past is not None:
            seen = KeysValues(torch.cat((past.keys, seen.keys), -2), torch.cat((past.values, seen.values), -2))
        if seen.keys.shape[-2] == 1 and not self.training:
            x = x + self.attention.alone(seen.values)
        else:
            queries = rotated(self.attention.queries(normed), start)
            bias = None if x.shape[-2] == 1 else causal_bias(x, start)
            x = x + self.dropout(self.attention.attend(queries, seen, bias))
        paths = self.norms[1](x).flatten(1, 2)
        crossed = self.cross.attend(self.cross.queries(paths), memory, memory_bias)
        x = x + self.dropout(crossed).unflatten(1, (x.shape[1], x.shape[2]))
        return x + self.dropout(self.feed_forward(self.norms[2](x))), seen


def rotated(x: Float[Tensor, "*N T e"], start: int = 0) -> Float[Tensor, "*N T e"]:
    """Rotary positions start .. start+T-1 (RoPE): halves of the last axis are turned against each other."""
    if start == 0 and x.shape[-2] == 1:
        return x
    half = x.shape[-1] // 2
    frequencies = _ROTATION_BASE ** (-torch.arange(half, device=x.device, dtype=x.dtype) / half)
    steps = torch.arange(start, start + x.shape[-2], device=x.device, dtype=x.dtype)
    angles = steps[:, None] * frequencies
    first, second = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def causal_bias(x: Float[Tensor, "*N Q d"], start: int = 0) -> Float[Tensor, "Q S"]:
    """Query q, at position start + q, sees the positions 0 .. start+q of S = start + Q."""
    queries = torch.arange(start, start + x.shape[-2], device=x.device)
    keys = torch.arange(start + x.shape[-2], device=x.device)
    return torch.where(keys <= queries[:, None], 0.0, MASKED).to(x.dtype)


def length_bias(x: Float[Tensor, "B S d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B 1 S"]:
    """Every query sees the first `length` places of its own row."""
    places = torch.arange(x.shape[1], device=x.device)
    return torch.where(places < length[:, None], 0.0, MASKED).to(x.dtype)[:, None]
