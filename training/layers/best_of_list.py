"""The last step of `retrieve_then_rank`: a list with two scores of each item -> the best k by the ranker's.

Legend: B requests, N retrieved items, K listed items.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.layers.listing import best_places
from training.servable import NO_SCORE, Packed


class BestOfList(nn.Module):
    """Of equal scores the one that was retrieved first."""

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top

    def forward(
        self,
        retrieved: Int64[Tensor, "B N"],
        retriever_scores: Float[Tensor, "B N"],
        ranker_scores: Float[Tensor, "B N"],
        k: Int64[Tensor, "B 1"],
    ) -> Packed:
        """Items int64 [B, K], both scores [B, K], the ranker's first: 0 and NO_SCORE beyond the k best. NaN of a ranker
        is NaN in the answer, and stands behind all numbers."""
        there = retrieved > 0
        known = torch.where(ranker_scores.isnan(), NO_SCORE / 2, ranker_scores)
        place = best_places(torch.where(there, known, NO_SCORE), self.top)
        listed = there.gather(1, place) & (torch.arange(self.top, device=place.device) < k)
        both = (torch.where(listed, one.gather(1, place), NO_SCORE) for one in (ranker_scores, retriever_scores))
        return torch.where(listed, retrieved.gather(1, place), 0), *both
