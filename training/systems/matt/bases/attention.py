"""Attention over paths: a field is one of two tokens, its own or its mean, and all weights between tokens are the same
in every path. A path only says which tokens are there.

Legend: C candidates, F fields, Q paths, S = 2 F tokens (the fields' own, then their means), H heads, E width of a head.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def attend_paths(
    weight: Float[Tensor, "C H S S"], value: Float[Tensor, "C H S E"], keep: Float[Tensor, "C Q F"]
) -> Float[Tensor, "C Q F HE"]:
    """sum_j w_ij v_j / sum_j w_ij over the tokens j that a path has, for the token i that it has of each field."""
    fields = keep.shape[2]
    extended = torch.cat([value, torch.ones_like(value[..., :1])], dim=3)  # (C, H, S, E + 1): the last sums weights
    own, mean = weight[:, :, None].split(fields, dim=3)  # (C, H, 1, F, S) each
    # A difference of the two would round away what is small beside the other.
    chosen = torch.where((keep > 0)[:, None, :, :, None], own, mean)
    present = torch.cat([keep, 1 - keep], dim=2)[:, None, :, None, :]  # (C, 1, Q, 1, S)
    summed = (chosen * present).flatten(2, 3) @ extended  # (C, H, QF, E + 1)
    attended = summed[..., :-1] / summed[..., -1:]
    return attended.transpose(1, 2).flatten(2).unflatten(1, (keep.shape[1], fields))


def stabilised(scores: Float[Tensor, "C H S S"]) -> Float[Tensor, "C H S S"]:
    """exp(scores) up to a factor per row, which division by the sum takes out."""
    return torch.exp(scores - scores.amax(dim=3, keepdim=True))


def both(
    own: Float[Tensor, "C F D"], means: Float[Tensor, "F D"], keep: Float[Tensor, "C Q F"]
) -> Float[Tensor, "C Q F D"]:
    """Each path's vectors: the field's own where it is kept, else its mean."""
    return torch.where((keep > 0)[..., None], own[:, None], means)
