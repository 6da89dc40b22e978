"""The four rewards of a path (read off the paper's figure, whose eight examples they give) and MSRA's window.

How they are weighted is our design: each scaled to 0..1, hits of tokens and of the whole path count one, category-hits
and consistency half.

Legend: B users, G paths of a user, N items of the window, M codebooks and steps.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

_WEIGHTS = (1.0, 1.0, 0.5, 0.5)


class Rewards(NamedTuple):
    """Integers; paths and targets are broadcast against each other."""

    step_hit: Int64[Tensor, "*n"]
    """Codebooks whose token is the target's, 0..M."""
    global_path: Int64[Tensor, "*n"]
    """1 if all are, else 0."""
    category_hit: Int64[Tensor, "*n"]
    """Steps whose category is the target's, 0..M."""
    consistency: Int64[Tensor, "*n"]
    """Adjacent steps that agree in category, 0..M-1."""


class Window(NamedTuple):
    """The next N items of each user."""

    codes: Int64[Tensor, "B N M"]
    categories: Int64[Tensor, "B N"]
    there: Bool[Tensor, "B N"]
    """False where the sequence has ended; the first item of each user is there."""


def rewards(
    codes: Int[Tensor, "*n M"],
    categories: Int[Tensor, "*n M"],
    target_codes: Int[Tensor, "*n M"],
    target_category: Int[Tensor, "*n"],
) -> Rewards:
    """Of paths with these codes, by codebook, and categories, by step."""
    right = codes == target_codes
    hit = categories == target_category.unsqueeze(-1)
    agree = (categories[..., 1:] == categories[..., :-1]).sum(-1)
    return Rewards(right.sum(-1), right.all(-1).long(), hit.sum(-1), agree.expand(hit.shape[:-1]))


def combined(parts: Rewards, codebooks: int) -> Float[Tensor, "*n"]:
    """The weighted sum of the rewards, each scaled to 0..1."""
    largest = (codebooks, 1, codebooks, max(1, codebooks - 1))
    scaled = [weight / top * part for weight, top, part in zip(_WEIGHTS, largest, parts, strict=True)]
    return torch.stack(scaled).sum(0)


def window_weights(there: Bool[Tensor, "B N"], decay: float) -> Float[Tensor, "B N"]:
    """decay^(n-1) of the items that are there, normalised (MSRA: w_1 > ... > w_N)."""
    weights = decay ** torch.arange(there.shape[1], device=there.device) * there
    return weights / weights.sum(1, keepdim=True)


def windowed(
    codes: Int[Tensor, "B G M"], categories: Int[Tensor, "B G M"], window: Window, decay: float
) -> Float[Tensor, "B G"]:
    """MSRA: the reward of each path against all items of the window."""
    parts = rewards(codes.unsqueeze(2), categories.unsqueeze(2), window.codes.unsqueeze(1), window.categories[:, None])
    weights = window_weights(window.there, decay).unsqueeze(1)
    return (weights * combined(parts, codes.shape[2])).sum(2)
