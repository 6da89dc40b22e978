"""The paths of each candidate, each once: those that keep the same fields have the same logit.

Legend: C candidates, Q paths, N distinct paths of all candidates.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor


class Distinct(NamedTuple):
    """Distinct paths, candidate by candidate, in the order in which they come first."""

    candidate: Int64[Tensor, " N"]
    """Whose each is."""
    masks: Int64[Tensor, " N"]
    """What each keeps."""
    place: Int64[Tensor, "C Q"]
    """Among them, of every path."""

    @classmethod
    def of(cls, masks: Int64[Tensor, "C Q"]) -> "Distinct":
        """`masks` of all paths, at least one."""
        count = masks.shape[1]
        same = (masks[:, :, None] == masks[:, None, :]).to(torch.int32)
        first = same.argmax(2)  # (C, Q): of all paths of this one's kind, the least
        is_first = (first == torch.arange(count, device=masks.device)).flatten()
        paths = is_first.nonzero()[:, 0]
        place = (is_first.long().cumsum(0) - 1).unflatten(0, masks.shape)
        return cls(paths // count, masks.flatten().index_select(0, paths), place.gather(1, first))

    def spread(self, values: Shaped[Tensor, " N"]) -> Shaped[Tensor, "C Q"]:
        """What was computed of each once, for all paths. Values beyond the N-th are of nobody."""
        return values.index_select(0, self.place.flatten()).unflatten(0, self.place.shape)
