"""IRM: a decoder-only transformer over a history by its input vectors, with the blocks of a language model.

RMS norms, SwiGLU, no biases, no tokenizer and no head. Each place sees the W newest places up to itself, and positions
count by distance alone, so that after n blocks a place depends on the last n (W - 1) + 1 events and on no others: one
new event needs these, and not the life before them (our design; the paper attends to all of it).

Histories are newest first: place 0 is the newest, and a place sees itself and the W - 1 behind it.

Legend: B batch, L places, d width, H heads, e = d / H, W window, Q blocks of W places.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.layers.transformer import MASKED

_EPS = 1e-6


class Norm(nn.Module):
    """x / rms(x) times a weight."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + _EPS) * self.weight


class WindowAttention(nn.Module):
    """Causal attention to the W newest places, with a learned bias by head and distance."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.projections = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.distance = nn.Parameter(torch.zeros(heads, window))
        self.register_buffer("settled", None)

    @torch.no_grad()
    def settle(self) -> None:
        """Works out the biases for good: what a served graph holds in place of those by distance."""
        self.settled = self._by_distance()

    def forward(self, x: Float[Tensor, "B L d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B L d"]:
        places, window = x.shape[1], self.window
        blocks = -(-places // window)
        padded = nn.functional.pad(x, (0, 0, 0, (blocks + 1) * window - places))
        query, key, value = (self._blocks(part) for part in self.projections(padded).chunk(3, -1))
        # Each block of queries sees its own block of keys and the older one behind it.
        keys, values = (torch.cat((part[:, :, :-1], part[:, :, 1:]), 3) for part in (key, value))  # (B, H, Q, 2W, e)
        logits = query[:, :, :-1] @ keys.transpose(-2, -1) * query.shape[-1] ** -0.5
        by_distance = self._by_distance() if self.settled is None else self.settled
        logits = logits + by_distance[None, :, None] + self._ends(length, blocks).to(x.dtype)
        mixed = logits.softmax(-1) @ values  # (B, H, Q, W, e)
        return self.output(mixed.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)[:, :places])

    def _blocks(self, x: Float[Tensor, "B P d"]) -> Float[Tensor, "B H Q W e"]:
        return x.unflatten(1, (-1, self.window)).unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4)

    def _by_distance(self) -> Float[Tensor, "H W 2W"]:
        """The bias of a place of a block towards each place of that block and the one behind it."""
        places = torch.arange(2 * self.window, device=self.distance.device)
        distance = places - places[: self.window, None]
        seen = (distance >= 0) & (distance < self.window)
        bias = self.distance[:, distance.clamp(0, self.window - 1)]
        return torch.where(seen, bias, MASKED)

    def _ends(self, length: Int[Tensor, " B"], blocks: int) -> Float[Tensor, "B 1 Q 1 2W"]:
        """What hides the places behind each history."""
        first = self.window * torch.arange(blocks, device=length.device)
        places = first[:, None] + torch.arange(2 * self.window, device=length.device)
        return torch.where(places < length[:, None, None], 0.0, MASKED)[:, None, :, None]


class Block(nn.Module):
    """Attention and SwiGLU, each behind a norm of its input and added to it."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        inner = 8 * dim // 3
        self.attention_norm, self.network_norm = Norm(dim), Norm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.gate, self.up = nn.Linear(dim, inner, bias=False), nn.Linear(dim, inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Float[Tensor, "B L d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B L d"]:
        x = x + self.attention(self.attention_norm(x), length)
        normed = self.network_norm(x)
        return x + self.down(nn.functional.silu(self.gate(normed)) * self.up(normed))


class Decoder(nn.Module):
    """n blocks and a norm."""

    def __init__(self, dim: int, heads: int, window: int, depth: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"width is {dim}, must be a multiple of heads, which is {heads}")
        self.blocks = nn.ModuleList(Block(dim, heads, window) for _ in range(depth))
        self.norm = Norm(dim)

    def forward(self, x: Float[Tensor, "B L d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B L d"]:
        for block in self.blocks:
            x = block(x, length)
        return self.norm(x)


def receptive(window: int, depth: int) -> int:
    """Events on which one place depends, itself among them."""
    return depth * (window - 1) + 1
