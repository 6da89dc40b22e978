"""Candidates packed over the requests of a dynamic batch <-> one padded row of candidates per request.

Attention wants one matrix product per request, so candidates are padded to the batch's longest request there and
nowhere else. Requests may be empty.

Legend: B requests, C candidates packed over them, N candidates of the longest request, D width.
"""

from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Layout(NamedTuple):
    """Where each candidate sits in both forms."""

    request: Int[Tensor, " C"]
    """Request of each packed candidate."""
    to_padded: Int[Tensor, "B N"]
    """Packed position of each padded slot; slots beyond a request's end repeat some other candidate."""
    to_packed: Int[Tensor, " C"]
    """Position in the flattened padded form of each packed candidate."""


def layout(ends: Int[Tensor, " B"], total: int) -> Layout:
    """Layout of `total` >= 1 packed candidates whose requests end at `ends` (accumulated element counts).

    Candidates past the last end belong to the last request.
    """
    ends = ends.long()
    # Not cat([0], ends[:-1]): for export that slice would need a batch of at least 3.
    starts = torch.cat([ends.new_zeros(1), ends]).narrow(0, 0, ends.shape[0])
    # Not int(...): export keeps the item a symbol, int would ask for its value.
    longest = cast(int, (ends - starts).max().clamp(min=1).item())
    torch._check(longest >= 1)
    crossed = ends.new_zeros(total + 1).scatter_add(0, ends, torch.ones_like(ends))
    request = crossed[:-1].cumsum(0).clamp(max=ends.shape[0] - 1)
    slot = (torch.arange(total) - starts.index_select(0, request)).clamp(max=longest - 1)
    to_padded = (starts[:, None] + torch.arange(longest)).clamp(max=total - 1)
    return Layout(request, to_padded, request * longest + slot)


def pad(packed: Float[Tensor, "C D"], at: Layout) -> Float[Tensor, "B N D"]:
    """One row of candidates per request."""
    rows, columns = at.to_padded.shape
    return packed.index_select(0, at.to_padded.reshape(-1)).reshape(rows, columns, packed.shape[1])


def pack(padded: Float[Tensor, "B N D"], at: Layout) -> Float[Tensor, "C D"]:
    """Back to one row per candidate."""
    return padded.flatten(0, 1).index_select(0, at.to_packed)
