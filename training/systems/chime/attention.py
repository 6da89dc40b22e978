"""Attention over the words of a histogram (ICM's reader), as functions of tensors.

Equal codes collapse into a count, so that attention over L K words with ln n added to their scores is attention over
all T quantised behaviours, at a cost that does not know T (our design; the paper says that histograms are read).

Legend: B batch, T behaviours, R newest of them, L levels, K words of a level, D width. Equations are numbered here:

    (1) a_l = softmax_k(<q, k_l[k]> / sqrt(D) + ln n_l[k]),  n_l[k] = 0 -> -1e9
    (2) o_l = sum_k a_l[k] v_l[k],  0 for an empty histogram
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.layers.transformer import MASKED


def log_counts(counts: Int[Tensor, "B L K"], like: Float[Tensor, "..."]) -> Float[Tensor, "B L K"]:
    """ln n of eq. (1), in the dtype of `like`."""
    number = counts.to(like.dtype)
    return torch.where(counts > 0, torch.log(number.clamp(min=1)), MASKED)


def scores(query: Float[Tensor, "B D"], keys: Float[Tensor, "L K D"]) -> Float[Tensor, "B L K"]:
    """<q, k> / sqrt(D) of eq. (1)."""
    levels, words, width = keys.shape
    return (query @ (keys.flatten(0, 1).T * width**-0.5)).unflatten(1, (levels, words))


def weights(scored: Float[Tensor, "B L K"], logs: Float[Tensor, "B L K"]) -> Float[Tensor, "B L K"]:
    """Eq. (1), of scores and log counts; zeros for an empty histogram."""
    there = logs.amax(-1, keepdim=True) >= 0
    return torch.softmax(scored + logs, dim=-1) * there.to(scored.dtype)


def weighted(shares: Float[Tensor, "B L K"], values: Float[Tensor, "L K D"]) -> Float[Tensor, "B LD"]:
    """Eq. (2), the levels side by side."""
    return (shares.transpose(0, 1) @ values).transpose(0, 1).flatten(1)


def mean(counts: Int[Tensor, "B L K"], values: Float[Tensor, "L K D"]) -> Float[Tensor, "B LD"]:
    """The mean behaviour of each level; 0 for an empty histogram."""
    number = counts.to(values.dtype)
    return weighted(number / number.sum(-1, keepdim=True).clamp(min=1), values)


def histogram(codes: Int[Tensor, "B T L"], is_there: Int[Tensor, "B T"], words: int) -> Int[Tensor, "B L K"]:
    """How often each word of each level is among the behaviours that are there, int32."""
    batch, _, levels = codes.shape
    places = codes + words * torch.arange(levels, device=codes.device)
    added = is_there.to(torch.int32)[:, :, None].expand(codes.shape)
    empty = torch.zeros(batch, levels * words, dtype=torch.int32, device=codes.device)
    return empty.scatter_add(1, places.flatten(1), added.flatten(1)).unflatten(1, (levels, words))


def recent_histogram(recent: Int[Tensor, "B R L"], words: int) -> Int[Tensor, "B L K"]:
    """Of the newest behaviours' codes; -1 where there is none."""
    return histogram(recent.clamp(min=0).long(), recent[:, :, 0] >= 0, words)
