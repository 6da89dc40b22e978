"""Items by the product of a user's vector with theirs, exactly: one product and TopK.

For up to about 2e5 items; beyond stands `training.steps.ann`, which answers the same inputs.

Legend: B requests, E ids packed over them, N items, S history, D width of vectors, K listed items.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.layers.item_filters import Filters
from training.servable import NO_SCORE, Packed


class ExactIndex(nn.Module):
    """User vectors -> the best items that the filters leave."""

    vectors: Float[Tensor, "D N+1"]

    def __init__(self, vectors: Float[Tensor, "N+1 D"], values: dict[str, np.ndarray], top: int) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.T.contiguous())
        self.filters, self.top = Filters(values, NO_SCORE), min(top, len(vectors) - 1)

    def forward(
        self,
        vector: Float[Tensor, "B D"],
        history_items: Int64[Tensor, "B S"],
        excluded: Int[Tensor, " E"],
        excluded_offsets: Int[Tensor, " B"],
        *only: Int64[Tensor, "B 1"],
    ) -> Packed:
        """Items int64 [B, K], best first, 0 where there are no more, and scores [B, K]. A vector of zeros, to which all
        items are the same, asks for none."""
        asks = (vector != 0).any(dim=1, keepdim=True)
        products = torch.where(asks, vector @ self.vectors, NO_SCORE)
        scores = self.filters(products, history_items, excluded, excluded_offsets, only)
        best, items = torch.topk(scores, self.top, dim=1)
        return torch.where(best > NO_SCORE, items, 0), best
