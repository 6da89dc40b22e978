"""From an instance's weights to its paths and to each path's share in the prediction (MATT-CTR, arXiv 2510.08932).

The paper states that confidences are the sampling probabilities and that the paths' scores are aggregated by
confidence. The equations are our design:

    (1) key      = Philox4x32-10 of (request key, item id)          the same request and item: the same paths
    (2) conf_p   = mean of n[f] / 65535 over the fields that path p keeps beside the anchors, 0 where it keeps none
    (3) a_p      = P / (P + 1) softmax_p(conf_p / T),  a_full = 1 / (P + 1)
    (4) a_full   = 1, a_p = 0 for an instance whose fields are frequent: mean n[f] / 65535 of all of them >= `frequent`

Training, evaluation and the served sampler call the same functions, so that all draw the same paths.

Legend: n instances, F fields, P paths.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float32, Float64, Int32, Int64
from torch import Tensor

from kernels.path_sampling.op import path_sampling
from kernels.path_sampling.reference import MAX_WEIGHT, Plan, field_bits
from kernels.path_sampling.sketch import combination_keys


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """How the paths of an instance are weighted."""

    temperature: float = 0.1
    """T of eq. (3); the smaller, the more the most confident path counts."""
    frequent: float | None = None
    """Mean confidence from which only the full path counts, eq. (4); None: every instance explores its paths."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0")


class Paths(NamedTuple):
    """Paths of n instances."""

    masks: Int64[Tensor, "n P"]
    """Bit f is set where the path keeps field f."""
    shares: Float32[Tensor, "n P+1"]
    """Of the full path (column 0) and of each sampled path; a row sums to 1."""
    flags: Int32[Tensor, " n"]
    """As `PathMasks.flags`."""


def instance_keys(request_keys: Int64[Tensor, " n"], items: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The key that an instance's random numbers follow from, eq. (1)."""
    return combination_keys(torch.stack([request_keys, items], dim=-1), (0, 1))


def draw(weights: Int32[Tensor, "n F"], keys: Int64[Tensor, " n"], plan: Plan, aggregation: Aggregation) -> Paths:
    """Paths and their shares. Raises ValueError as `path_sampling`."""
    masks, flags = path_sampling(weights, keys, plan)
    return Paths(masks, shares(masks, weights, plan.anchors, aggregation), flags)


def shares(
    masks: Int64[Tensor, "n P"], weights: Int32[Tensor, "n F"], anchors: int, aggregation: Aggregation
) -> Float32[Tensor, "n P+1"]:
    """Eq. (2) to (4), in fp64 until the end: the last bit of an fp32 exponential depends on where it is computed."""
    paths = masks.shape[1]
    sampled = torch.softmax(path_confidence(masks, weights, anchors) / aggregation.temperature, dim=1)
    full = torch.full_like(sampled[:, :1], 1 / (paths + 1))
    explored = torch.cat([full, sampled * paths / (paths + 1)], dim=1)
    if aggregation.frequent is None:
        return explored.float()
    all_fields = torch.full_like(masks[:, :1], -1)
    is_frequent = path_confidence(all_fields, weights, anchors) >= aggregation.frequent
    only_full = torch.zeros_like(explored)
    only_full[:, 0] = 1
    return torch.where(is_frequent, only_full, explored).float()


def path_confidence(masks: Int64[Tensor, "n P"], weights: Int32[Tensor, "n F"], anchors: int) -> Float64[Tensor, "n P"]:
    """Mean confidence of what each path keeps beside the anchors, eq. (2). Sums are of integers, so exact."""
    bits = field_bits(weights.shape[1], weights.device)
    kept = ((masks[..., None] & bits & ~anchors) != 0).long()  # (n, P, F)
    total = (kept * weights[:, None, :]).sum(-1)
    return total / (MAX_WEIGHT * kept.sum(-1).clamp(min=1).double())
