"""Histories packed over the requests of a dynamic batch; requests may be empty.

Legend: B requests, H history items packed over them, L longest history that is read.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from training.layers.rows import rows


def newest(
    history: Int[Tensor, " H"], ends: Int[Tensor, " B"], width: int
) -> tuple[Int[Tensor, "B L"], Int[Tensor, " B"]]:
    """The newest `width` items of each packed history, oldest first, 0 beyond its length; and that length."""
    ends = ends.long()
    # Not ends[:-1], of which torch.export would want at least two rows.
    starts = torch.cat((ends.new_zeros(1), ends)).index_select(0, torch.arange(ends.shape[0], device=ends.device))
    length = (ends - starts).clamp(max=width)
    steps = torch.arange(width, device=ends.device)
    # One item more, which nobody reads: a batch may have none at all.
    padded = torch.cat((history, history.new_zeros(1)))
    places = ((ends - length)[:, None] + steps).clamp(max=history.shape[0])
    return torch.where(steps < length[:, None], rows(padded, places), 0), length
