"""Low-rank attention, the definition: any floating-point type, one user after the other.

A user's history is prestored as R rows of keys and values, and each candidate attends to its own user's rows.
Numbers are those of `training/systems/lrea/attention.py`:

    (3) A = q K^T / sqrt(E) + b          (4) O = A V / n             unabsorbed, without LREA's ReLU
    (5) Kc, Vc, ub from W_up and the compressed keys and values      absorption
    (6) O = (q Kc^T) Vc + ub             linear, on the factored state
        O = softmax(q Kc^T) Vc + ub      softmax over the user's rows (our design: the scale is folded into Kc)
    (7) O = T M + ub,  M = W_Q Kc^T Vc   fully absorbed

Legend: B users, C candidates packed over them, H heads, R rank (rows), L history, D width, E and V widths of one
head's keys and values. `ends` are accumulated element counts; candidates beyond the last end are the last user's.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Variant = Literal["linear", "softmax"]


class Factored(NamedTuple):
    """A user's state of eq. (6)."""

    keys: Float[Tensor, "B H R E"]
    values: Float[Tensor, "B H R V"]
    bias: Float[Tensor, "B HV"]


def user_slices(ends: Int[Tensor, " B"], total: int) -> list[slice]:
    """Each user's candidates among `total`."""
    bounds = [min(end, total) for end in ends.tolist()[:-1]]
    return [slice(*pair) for pair in zip([0, *bounds], [*bounds, total], strict=True)] if len(ends) else []


def low_rank_attention(  # noqa: PLR0913 - the operator's inputs
    queries: Float[Tensor, "C H E"],
    ends: Int[Tensor, " B"],
    keys: Float[Tensor, "B H R E"],
    values: Float[Tensor, "B H R V"],
    bias: Float[Tensor, "B HV"],
    ranks: Int[Tensor, " B"] | None = None,
    variant: Variant = "linear",
) -> Float[Tensor, "C HV"]:
    """Eq. (6). Rows of a user beyond its rank do not count; a user without rows gets its bias."""
    outputs = queries.new_empty(queries.shape[0], bias.shape[1])
    for user, own in enumerate(user_slices(ends, queries.shape[0])):
        rank = keys.shape[2] if ranks is None else int(ranks[user])
        weights = torch.einsum("che,hre->chr", queries[own], keys[user, :, :rank])
        if variant == "softmax":
            weights = torch.softmax(weights, dim=2)
        outputs[own] = torch.einsum("chr,hrv->chv", weights, values[user, :, :rank]).flatten(1) + bias[user]
    return outputs


def absorbed_attention(
    targets: Float[Tensor, "C D"],
    ends: Int[Tensor, " B"],
    product: Float[Tensor, "B D HV"],
    bias: Float[Tensor, "B HV"],
) -> Float[Tensor, "C HV"]:
    """Eq. (7)."""
    outputs = targets.new_empty(targets.shape[0], bias.shape[1])
    for user, own in enumerate(user_slices(ends, targets.shape[0])):
        outputs[own] = targets[own] @ product[user] + bias[user]
    return outputs


def unabsorbed_attention(
    queries: Float[Tensor, "C H E"],
    ends: Int[Tensor, " B"],
    keys: Float[Tensor, "B H L E"],
    values: Float[Tensor, "B H L V"],
    score_bias: Float[Tensor, " H"],
    lengths: Int[Tensor, " B"],
) -> Float[Tensor, "C HV"]:
    """Eqs. (3) and (4) over the first n = `lengths` events of the raw history; zeros for an empty one."""
    outputs = queries.new_zeros(queries.shape[0], values.shape[1] * values.shape[3])
    for user, own in enumerate(user_slices(ends, queries.shape[0])):
        count = int(lengths[user])
        scores = torch.einsum("che,hle->chl", queries[own], keys[user, :, :count]) / math.sqrt(keys.shape[3])
        scores = scores + score_bias[:, None]
        outputs[own] = torch.einsum("chl,hlv->chv", scores, values[user, :, :count]).flatten(1) / max(count, 1)
    return outputs


def absorb(
    keys: Float[Tensor, "B H R E"],
    values: Float[Tensor, "B H R V"],
    up: Float[Tensor, "L R"],
    score_bias: Float[Tensor, " H"],
    lengths: Int[Tensor, " B"],
) -> Factored:
    """Eq. (5): from projected compressed keys C W_K and values C W_V to the state."""
    mask = (torch.arange(up.shape[0]) < lengths[:, None]).to(keys.dtype)  # (B, L)
    masked_up = mask[:, :, None] * up  # (B, L, R)
    gram = masked_up.transpose(1, 2) @ masked_up  # (B, R, R)
    count = lengths.clamp(min=1).to(keys.dtype)[:, None, None, None]
    totals = torch.einsum("br,bhrv->bhv", masked_up.sum(dim=1), values) * score_bias[:, None]
    return Factored(
        keys, gram[:, None] @ values / (count * math.sqrt(keys.shape[3])), (totals / count[:, :, 0]).flatten(1)
    )


def absorb_fully(state: Factored, query_weight: Float[Tensor, "D H E"]) -> Float[Tensor, "B D HV"]:
    """Eq. (7): M."""
    return torch.einsum("dhe,bhre,bhrv->bdhv", query_weight, state.keys, state.values).flatten(2)
