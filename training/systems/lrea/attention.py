"""LREA's arithmetic as functions of tensors: training form, absorption, served form.

Legend: B batch, L history, C candidates, R rank, H heads, D width of a behaviour, E and V widths of one head's
keys and values. Equations are numbered here (reconstructed from public summaries, see the package docstring):

    (1) C  = W_dn (m * S)                       compress along the length
    (2) S~ = m * (W_up C)                       decompress, training only
    (3) A  = (T W_Q)(S~ W_K)^T / sqrt(E) + b
    (4) O  = ReLU(A * m)(S~ W_V) / n            n = sum(m), no softmax
    (5) Kc = C W_K,  Vc = (G C) W_V / (n sqrt(E)),  G = W_up^T diag(m) W_up
        ub = b (1^T diag(m) W_up C) W_V / n     the absorbed bias
    (6) O  = ((T W_Q) Kc^T) Vc + ub
    (7) M  = W_Q Kc^T Vc,  O = T M + ub         fully absorbed, independent of R
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Absorbed(NamedTuple):
    """What the serving side keeps of one user's history, eq. (5)."""

    keys: Float[Tensor, "B H R E"]
    values: Float[Tensor, "B H R V"]
    bias: Float[Tensor, "B HV"]


def prefix_mask(lengths: Int[Tensor, " B"], longest: int) -> Float[Tensor, "B L"]:
    """1 for the first `length` positions, 0 after."""
    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).float()


def segment_pooling(length: int, rank: int) -> tuple[Float[Tensor, "R L"], Float[Tensor, "L R"]]:
    """W_dn whose row k averages the k-th of R contiguous segments, W_up that broadcasts it back (our design).

    Segments grow geometrically from the most recent event on, so that recent events keep the finer resolution;
    every segment has at least one event.
    """
    edges = segment_edges(length, rank)
    position = torch.arange(length)
    slot = torch.bucketize(position, edges[1:-1], right=True)
    up = torch.nn.functional.one_hot(slot, rank).float()
    return (up / up.sum(dim=0)).T.contiguous(), up


def segment_edges(length: int, rank: int) -> Int[Tensor, " R1"]:
    """R + 1 increasing edges from 0 to `length`, geometric where that leaves no segment empty."""
    if not 1 <= rank <= length:
        raise ValueError(f"rank must lie in 1..{length} (the longest history), not {rank}")
    edges = [0]
    for k in range(1, rank + 1):
        geometric = round(length ** (k / rank))
        edges.append(min(max(geometric, edges[-1] + 1), length - (rank - k)))
    return torch.tensor(edges)


def compress(down: Float[Tensor, "*B R L"], masked: Float[Tensor, "B L D"]) -> Float[Tensor, "B R D"]:
    """Eq. (1); `down` is W_dn, or one P^T per user in the adaptive variant; `masked` is m * S."""
    return down @ masked


def decompress(
    up: Float[Tensor, "*B L R"], compressed: Float[Tensor, "B R D"], mask: Float[Tensor, "B L"]
) -> Float[Tensor, "B L D"]:
    """Eq. (2)."""
    return mask[:, :, None] * (up @ compressed)


def split_heads(x: Float[Tensor, "B N HE"], heads: int) -> Float[Tensor, "B H N E"]:
    """Cut the last axis into heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention_scores(
    queries: Float[Tensor, "B H C E"], keys: Float[Tensor, "B H L E"], bias: Float[Tensor, " H"]
) -> Float[Tensor, "B H C L"]:
    """Eq. (3)."""
    return queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1]) + bias[:, None, None]


def weighted_sum(
    weights: Float[Tensor, "B H C L"], values: Float[Tensor, "B H L V"], mask: Float[Tensor, "B L"]
) -> Float[Tensor, "B C HV"]:
    """Eq. (4) after the activation: sum of weighted values over the n valid positions; 0 for an empty history."""
    summed = (weights * mask[:, None, None, :]) @ values
    return summed.transpose(1, 2).flatten(2) / mask.sum(dim=1).clamp(min=1)[:, None, None]


def factored_scores(
    query: Float[Tensor, "B H E"], key: Float[Tensor, "B R H E"], up: Float[Tensor, "*B L R"], bias: Float[Tensor, " H"]
) -> Float[Tensor, "B H L"]:
    """Eq. (3) of one target, from the projected compression C W_K."""
    slots = torch.einsum("bhe,brhe->bhr", query, key) / math.sqrt(query.shape[-1])
    return slots @ up.transpose(-1, -2) + bias[:, None]


def factored_sum(
    weights: Float[Tensor, "B H L"],
    value: Float[Tensor, "B R H V"],
    up: Float[Tensor, "*B L R"],
    mask: Float[Tensor, "B L"],
) -> Float[Tensor, "B HV"]:
    """Eq. (4) of one target after the activation, from the projected compression C W_V."""
    slots = (weights * mask[:, None, :]) @ up  # (B, H, R)
    summed = torch.einsum("bhr,brhv->bhv", slots, value).flatten(1)
    return summed / mask.sum(dim=1, keepdim=True).clamp(min=1)


def absorb(
    compressed: Float[Tensor, "B R D"],
    gram: Float[Tensor, "B R R"],
    up_sum: Float[Tensor, "B R"],
    count: Float[Tensor, " B"],
    weights: tuple[Float[Tensor, "D HE"], Float[Tensor, "D HV"], Float[Tensor, " H"]],
) -> Absorbed:
    """Eq. (5). `gram` is G, `up_sum` is 1^T diag(m) W_up, `count` is n (0 counts as 1), `weights` W_K, W_V, b."""
    key_weight, value_weight, bias = weights
    heads = bias.shape[0]
    keys = split_heads(compressed @ key_weight, heads)  # (B, H, R, E)
    values = split_heads(gram @ compressed @ value_weight, heads)  # (B, H, R, V)
    divisor = count.clamp(min=1)
    values = values / (divisor * math.sqrt(keys.shape[-1]))[:, None, None, None]
    total = (up_sum[:, None, :] @ compressed @ value_weight)[:, 0].unflatten(-1, (heads, -1))  # (B, H, V)
    return Absorbed(keys, values, (total * bias[:, None] / divisor[:, None, None]).flatten(1))


def attend(queries: Float[Tensor, "B H C E"], state: Absorbed) -> Float[Tensor, "B C HV"]:
    """Eq. (6)."""
    interest = queries @ state.keys.transpose(2, 3) @ state.values  # (B, H, C, V)
    return interest.transpose(1, 2).flatten(2) + state.bias[:, None, :]


def absorb_fully(state: Absorbed, query_weight: Float[Tensor, "D HE"]) -> Float[Tensor, "B D HV"]:
    """Eq. (7): M of every user."""
    heads = state.keys.shape[1]
    per_head = query_weight.unflatten(-1, (heads, -1)).transpose(0, 1)  # (H, D, E)
    product = per_head @ (state.keys.transpose(2, 3) @ state.values)  # (B, H, D, V)
    return product.transpose(1, 2).flatten(2)


def negative_share(scores: Float[Tensor, "B H L"], mask: Float[Tensor, "B L"]) -> Float[Tensor, ""]:
    """sum ReLU(-A) / sum |A| over the valid positions: the scale-free non-negativity loss (our design).

    A plain mean of ReLU(-A) is minimised by A = 0, which switches attention off; a ratio cannot be lowered so.
    """
    valid = mask[:, None, :]
    return (torch.relu(-scores) * valid).sum() / (scores.abs() * valid).sum().clamp(min=1e-12)
