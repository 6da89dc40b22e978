"""m_t = keep_t m_{t-1} + gain_t for each concept, over a whole sequence without a loop over its places.

`last` is the answer of the served graph: m_T = m_0 prod keep + sum_t gain_t prod_{k > t} keep_k, where the products are
exponentials of sums from the end. No quotient and no difference of large numbers is in it, so a long history loses
nothing. `before` gives all places: the pair (keep, gain) of neighbours, of neighbours of those, and so on.

Legend: B students, T answers, C concepts.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def last(
    start: Float[Tensor, "B C"], log_keep: Float[Tensor, "B T C"], gain: Float[Tensor, "B T C"]
) -> Float[Tensor, "B C"]:
    """m_T, of log keep <= 0 and gain >= 0."""
    # Not the slices [:, :1] and [:, 1:] of one tensor: ONNX Runtime 1.31 splits it at the size that was traced.
    later = torch.cat((log_keep[:, 1:], torch.zeros_like(start)[:, None]), dim=1)
    kept = later.flip(1).cumsum(1).flip(1).exp()
    return start * log_keep.sum(dim=1).exp() + (gain * kept).sum(dim=1)


def before(
    start: Float[Tensor, "B C"], log_keep: Float[Tensor, "B T C"], gain: Float[Tensor, "B T C"]
) -> Float[Tensor, "B T C"]:
    """m_{t-1} at each place."""
    keep, reach = log_keep.exp(), 1
    while reach < keep.shape[1]:
        # What the `reach` places up to each one do is joined with what those before them do.
        older_keep, older_gain = (_later(one, reach, value) for one, value in ((keep, 1.0), (gain, 0.0)))
        keep, gain, reach = keep * older_keep, keep * older_gain + gain, 2 * reach
    return _later(keep, 1, 1.0) * start[:, None] + _later(gain, 1, 0.0)


def _later(values: Float[Tensor, "B T C"], places: int, first: float) -> Float[Tensor, "B T C"]:
    """Moved by so many places, fewer than there are or as many; `first` where nothing was before."""
    filling = torch.full_like(values[:, :places], first)
    return torch.cat((filling, values[:, : values.shape[1] - places]), dim=1)
