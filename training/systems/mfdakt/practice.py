"""What a student did with each concept so far: how often right, how often wrong, the last result, how long ago.

The sequence form says it of the concepts of each question alone, without a table of places by concepts and without a
loop: places are sorted by concept, so that those of a concept are neighbours.

Legend: B students, T answers, W concepts of a question, C concepts, N = T W pairs of a place and a concept, *B any.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

NEVER, WRONG, RIGHT = range(3)
"""Last results."""
MOST = 2**24
"""Answers to a concept: up to there a float32 counts each one."""


class Practice(NamedTuple):
    """Of some concepts; zeros where there is none and where it was not practised yet."""

    wins: Int64[Tensor, "*B"]
    fails: Int64[Tensor, "*B"]
    last: Int64[Tensor, "*B"]
    """NEVER, WRONG or RIGHT."""
    ago: Int64[Tensor, "*B"]
    """Answers since: 1 where the newest one was on it; 0 is never."""

    def at(self, concepts: Int64[Tensor, "B W"]) -> "Practice":
        """Of these concepts, where self [B, C+1] is of all."""
        return Practice(*(torch.where(concepts > 0, part.gather(1, concepts), 0) for part in self))

    def then(self, practised: Bool[Tensor, "B C+1"], right: Int[Tensor, " B"], longest: int) -> "Practice":
        """After one more answer, on the concepts that are practised."""
        right = right[:, None]
        return Practice(
            torch.where(practised, self.wins + right, self.wins).clamp(max=MOST),
            torch.where(practised, self.fails + 1 - right, self.fails).clamp(max=MOST),
            torch.where(practised, WRONG + right, self.last),
            torch.where(practised, 1, torch.where(self.ago > 0, (self.ago + 1).clamp(max=longest), 0)),
        )


def before(
    concepts: Int64[Tensor, "B T W"], responses: Int[Tensor, "B T"], num_concepts: int, longest: int
) -> Practice:
    """[B, T, W]: of each place's concepts, by the places before it. `num_concepts` is C + 1; the concepts of a place
    are distinct, but for 0, which is none."""
    steps, width = concepts.shape[1:]
    place = torch.arange(steps, device=concepts.device)[:, None]
    order = (concepts * steps + place).flatten(1).argsort(dim=1)  # (B, N)
    concept = concepts.flatten(1).gather(1, order)
    right = responses[..., None].expand(-1, -1, width).flatten(1).gather(1, order)
    moment = order // width
    none = concept.new_zeros(concept.shape[0], num_concepts)
    # Pairs, and right ones among them, that stand before the first pair of each concept.
    pairs, rights = (
        counts.cumsum(dim=1) - counts
        for counts in (none.scatter_add(1, concept, torch.ones_like(concept)), none.scatter_add(1, concept, right))
    )
    number = torch.arange(order.shape[1], device=order.device) - pairs.gather(1, concept)
    wins = right.cumsum(dim=1) - right - rights.gather(1, concept)
    met = number > 0
    last = torch.where(met, WRONG + _shifted(right), NEVER)
    ago = torch.where(met, (moment - _shifted(moment)).clamp(max=longest), 0)
    back = order.argsort(dim=1)
    found = (part.gather(1, back).reshape(concepts.shape) for part in (wins, number - wins, last, ago))
    return Practice(*(torch.where(concepts > 0, part, 0) for part in found))


def after(
    concepts: Int64[Tensor, "B T W"],
    responses: Int[Tensor, "B T"],
    length: Int[Tensor, " B"],
    num_concepts: int,
    longest: int,
) -> Practice:
    """[B, C+1]: of all concepts, by the first `length` places, of whose concepts the same holds."""
    place = torch.arange(concepts.shape[1], device=concepts.device)[:, None]
    counts = (concepts > 0) & (place < length[:, None, None])
    concept = torch.where(counts, concepts, 0).flatten(1)
    right = responses[..., None].expand_as(concepts).flatten(1)
    none = concept.new_zeros(concept.shape[0], num_concepts)
    wins, fails = (none.scatter_add(1, concept, part) for part in (right, 1 - right))
    number = (place + 1).expand_as(concepts).flatten(1)
    newest = none.scatter_reduce(1, concept, number, "amax")
    result = responses.gather(1, (newest - 1).clamp(min=0))
    there = (newest > 0) & (torch.arange(num_concepts, device=concepts.device) > 0)
    ago = (length[:, None] + 1 - newest).clamp(max=longest)
    return Practice(*(torch.where(there, part, 0) for part in (wins, fails, WRONG + result, ago)))


def _shifted(values: Int[Tensor, "B N"]) -> Int[Tensor, "B N"]:
    """What stands one place before; at the first place its own."""
    return torch.cat((values[:, :1], values[:, :-1]), dim=1)
