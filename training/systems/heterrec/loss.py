"""Listwise multi-step prediction: the next K items of a place as a list, the nearest first (our design).

    L_n = sum_k gamma^(k-1) [ log( exp Z - sum_{j<k} exp s_j ) - s_k ],   Z = log sum over all items of exp s   (1)

the likelihood of Plackett and Luce: an item that has been placed is no rival of the later ones. With p_j = exp(s_j - Z)
the logarithm is Z + log1p(-sum p_j); as the model fits, that sum nears 1, so it is held to 0.999. Without the second
part it is K softmaxes apart; K = 1 is the cross-entropy.

Legend: B users, L places of a history, b places, K steps.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Order = Literal["plackett-luce", "independent"]
_MOST_PLACED = 0.999
"""Share of the items that are placed already, at most."""


def next_items(targets: Int64[Tensor, "B L"], steps: int) -> Int64[Tensor, "B L K"]:
    """The next K items of each place, out of the next one of each; 0 where there is none, and where it came before in
    the same list."""
    padded = torch.nn.functional.pad(targets, (0, steps - 1))
    found = padded.unfold(1, steps, 1)  # (B, L, K)
    equal = found[..., None, :] == found[..., None]
    before = equal.tril(-1).any(-1)
    return torch.where(before, 0, found)


def listwise(
    normaliser: Float[Tensor, " b"],
    scores: Float[Tensor, "b K"],
    there: Bool[Tensor, "b K"],
    gamma: Float[Tensor, ""],
    order: Order,
) -> Float[Tensor, " b"]:
    """Eq. (1) of each place; steps that are not there count for nothing."""
    left = normaliser[:, None]
    if order == "plackett-luce":
        shares = torch.where(there, (scores - normaliser[:, None]).exp(), 0.0)
        placed = shares.cumsum(1) - shares
        left = left + torch.log1p(-placed.clamp(max=_MOST_PLACED))
    weights = gamma ** torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype)
    return (torch.where(there, weights, 0.0) * (left - scores)).sum(1)
