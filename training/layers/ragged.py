"""Candidates packed over the requests of a dynamic batch; requests may be empty.

Legend: B requests, C candidates packed over them.
"""

import torch
from jaxtyping import Int
from torch import Tensor


def requests(ends: Int[Tensor, " B"], total: int) -> Int[Tensor, " C"]:
    """Request of each of `total` packed candidates; those past the last end belong to the last request."""
    ends = ends.long()
    crossed = ends.new_zeros(total + 1).scatter_add(0, ends, torch.ones_like(ends))
    return crossed[:-1].cumsum(0).clamp(max=ends.shape[0] - 1)
