"""Attention from questions to the newest answers before them, in a window that moves on (our design).

How long ago an answer was is a bias of each head, by how many answers ago; a learnt vector stands for the time before
the window, so that of one of whom nothing is known something can be read. So the window of a student is a ring of ids.

Legend: B students, T answers, W answers of the window, S answers that are looked at, R places of a chunk, D width,
H heads.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.layers.rows import rows_of_each
from training.layers.transformer import MASKED, Attention, KeysValues


class Chunk(NamedTuple):
    """Some neighbouring places of a sequence, and what their windows reach."""

    places: slice
    seen: slice
    ago: Int64[Tensor, "R S"]
    """How many answers before each place another one was; 0 for those that were not before it."""


class AnswerWindow(nn.Module):
    """See the module's docstring."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.before = nn.Parameter(torch.zeros(dim))
        self.ago = nn.Parameter(torch.zeros(heads, window + 1))
        self.attention = Attention(dim, heads)

    def forward(
        self,
        asked: Float[Tensor, "B R D"],
        answered: Float[Tensor, "B S D"],
        ago: Int[Tensor, "*B R S"],
        more: Float[Tensor, "B H R S"] | None = None,
    ) -> Float[Tensor, "B R D"]:
        """What questions take from answers; `ago` says how many answers before each question an answer was; 0 and more
        than the window are not seen. `more` is added to the logits of each head."""
        before = self.before.expand(answered.shape[0], 1, -1)
        seen = self.attention.keys_values(torch.cat((before, answered), dim=1))
        inside = (ago > 0) & (ago <= self.window)
        # What was before is always seen, at place 0 of the biases.
        first = torch.zeros_like(ago[..., :1])
        index = torch.cat((first, torch.where(inside, ago, 0)), dim=-1)
        bias = torch.cat((first.to(asked.dtype), torch.where(inside, 0.0, MASKED).to(asked.dtype)), dim=-1)
        by_head = nn.functional.embedding(index, self.ago.T).transpose(-1, -2).transpose(-2, -3)  # (*B, H, R, S)
        if more is not None:
            by_head = by_head + nn.functional.pad(more, (1, 0))
        return self.attention.attend(self.attention.queries(asked), KeysValues(*seen), bias, by_head)

    def of_ring(
        self,
        asked: Float[Tensor, "B R D"],
        answered: Float[Tensor, "B W D"],
        answers: Float[Tensor, "B 1"] | Int64[Tensor, "B 1"],
        more: Float[Tensor, "B H R W"] | None = None,
    ) -> Float[Tensor, "B R D"]:
        """The same of rings, which hold the newest `answers` [B, 1] of a student at their ends."""
        ago = torch.arange(self.window, 0, -1, device=asked.device)
        return self(asked, answered, torch.where(ago <= answers, ago, 0)[:, None], more)

    def chunks(self, length: int, size: int, device: torch.device) -> Iterator[Chunk]:
        """Places 0 to `length`, `size` at a time, so that a long sequence costs as much as its length."""
        for first in range(0, length, size):
            start, end = max(0, first - self.window), min(first + size, length)
            places, seen = (torch.arange(*ends, device=device) for ends in ((first, end), (start, end)))
            yield Chunk(slice(first, end), slice(start, end), (places[:, None] - seen).clamp(min=0))


def moved(ring: Int64[Tensor, "B W"], new: Int64[Tensor, " B"]) -> Int64[Tensor, "B W"]:
    """The oldest one goes, the new one is last."""
    return torch.cat((ring[:, 1:], new[:, None]), dim=1)


def ring_of(values: Int64[Tensor, "B T"], length: Int64[Tensor, " B"], window: int) -> Int64[Tensor, "B W"]:
    """The newest values, the newest one last, 0 before the first."""
    places = length[:, None] - window + torch.arange(window, device=length.device)
    return torch.where(places >= 0, rows_of_each(values, places.clamp(min=0)), 0)
