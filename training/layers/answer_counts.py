"""How often students were right and wrong on each concept (our design): of whole sequences, and before each answer.

An answer counts once for each concept of its question, however often that is named; for no concept of an unknown one.

Legend: B students, T answers, R answers of a chunk, C concepts, W concepts of a question.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

MOST = 2**24
"""Up to there a float32 counts each answer."""
_CHUNK = 64
"""Answers whose counts of all concepts are held at once."""


class ConceptCounts(NamedTuple):
    """Right and wrong answers: of all concepts [B, C+1], where 0 is none and has no answers, or of a question's own
    [B, T, W]."""

    wins: Tensor
    fails: Tensor

    def more(self, other: "ConceptCounts") -> "ConceptCounts":
        """Both together, at most `MOST` each."""
        return ConceptCounts(*((one + two).clamp(max=MOST) for one, two in zip(self, other, strict=True)))


def counted(
    concepts: Int[Tensor, "B T W"], response: Int[Tensor, "B T"], weight: Float[Tensor, "B T"], size: int
) -> ConceptCounts:
    """Sums [B, size] of the weights of right and of wrong answers; memory is in proportion to T W."""
    own = _distinct(concepts).flatten(1)
    right = response.to(weight.dtype)

    def tally(amount: Float[Tensor, "B T"]) -> Float[Tensor, "B C+1"]:
        each = amount.unsqueeze(-1).expand(concepts.shape).flatten(1)
        found = weight.new_zeros(concepts.shape[0], size).scatter_add(1, own, each)
        return found * (torch.arange(size, device=found.device) > 0)

    return ConceptCounts(tally(weight * right), tally(weight * (1 - right)))


def counts_before(
    concepts: Int[Tensor, "B T W"], response: Int[Tensor, "B T"], like: Tensor, size: int
) -> ConceptCounts:
    """Counts [B, T, W] of the concepts of each answer's question before it, of the type of `like`; a chunk at a time,
    so that memory is in proportion to T W and not to T C."""
    wins, fails = (like.new_zeros(concepts.shape[0], size) for _ in range(2))
    found: list[tuple[Tensor, Tensor]] = []
    for own, right in zip(concepts.split(_CHUNK, dim=1), response.split(_CHUNK, dim=1), strict=True):
        wins_at, wins = _within(own, right, wins)
        fails_at, fails = _within(own, 1 - right, fails)
        found.append((wins_at, fails_at))
    return ConceptCounts(*(torch.cat(parts, dim=1) for parts in zip(*found, strict=True)))


def counts_of(counts: ConceptCounts, concepts: Int[Tensor, "B T W"]) -> ConceptCounts:
    """Of counts of all concepts [B, C+1] those of the concepts of questions."""
    return ConceptCounts(*(part.gather(1, concepts.flatten(1)).reshape(concepts.shape) for part in counts))


def _within(
    concepts: Int[Tensor, "B R W"], counts: Int[Tensor, "B R"], start: Float[Tensor, "B C+1"]
) -> tuple[Float[Tensor, "B R W"], Float[Tensor, "B C+1"]]:
    """Of one side, before each answer, and after all."""
    own = _distinct(concepts)
    each = torch.zeros(*concepts.shape[:2], start.shape[1], dtype=start.dtype, device=start.device)
    each = each.scatter(2, own, counts.to(start.dtype).unsqueeze(-1).expand(own.shape))
    each[..., 0] = 0
    summed = each.cumsum(dim=1) + start[:, None]
    return (summed - each).gather(2, concepts), summed[:, -1]


def _distinct(concepts: Int[Tensor, "*B W"]) -> Int[Tensor, "*B W"]:
    """0 in place of a concept that was named before."""
    same = concepts.unsqueeze(-1) == concepts.unsqueeze(-2)
    return torch.where(same.tril(-1).any(dim=-1), 0, concepts)
