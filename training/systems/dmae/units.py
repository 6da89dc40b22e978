"""DMAE's three units: encoding (MIEU), fusion (MIFU), decoding (IDDU), and what they read.

Similarities lie on a grid, so that the bucket of a pair is the same in every precision and runtime: vectors are
multiples of 1 / `FINENESS`, their products are exact in fp32 in any order of addition, and r is rounded to one of
`LEVELS` + 1 levels. An encoding unit is then a table over levels, and r its row.

Legend: B batch, L history, M modalities, N_B buckets, Q = LEVELS, A buckets of ages, V values of events, D width of an
item, d width of the units.
Equations, reconstructed from public summaries, see the package docstring:

    (1) r_j    = (cos(v_target, v_j) + 1) / 2                  of each modality, rounded to k / Q
    (2) rhat_j = clamp(w r_j + b, 0, 1)
    (3) r_d    = rhat_j Bucket[floor(rhat_j (N_B - 1))],  r_c = rhat_j W_c
    (4) h_j    = W [r_d ; r_c ; age_j ; value_j] + bias
    (5) f_1j   = LN(h_1j + sum_i softmax_i(Q h_1j . K h_2i / sqrt(d)) V h_2i),  f_2j likewise
    (6) u      = sum_j softmax_j(a . f_j) f_j                  of each modality
    (7) L_dec  = sum over modalities of KL(softmax_j(r_j / tau) || softmax_j(o_j)),  o_j = MLP([f_1j ; f_2j])
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

FINENESS = 2048
"""Whole numbers up to this one are exact in fp16 and TF32 too, and sums of their products below 2^24 in fp32."""
LEVELS = 512
_FIXED = 1 << 16
"""Parts of one in which w and b decide the bucket."""
_FEWEST = 2
"""Behaviours that a distribution needs."""


class Compared(NamedTuple):
    """The target beside each behaviour in one modality."""

    level: Int64[Tensor, "B L"]
    """Q r of eq. (1)."""
    valid: Float[Tensor, "B L"]
    """1 where both have a vector."""


def level_of(cosine: Float[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
    """Eq. (1). Every step is exact in fp32 where the cosine is a sum of products on the grid."""
    return ((cosine * 0.5 + 0.5) * LEVELS).round().clamp(0, LEVELS).long()


class Vectors(NamedTuple):
    """The summands of eq. (4), which is linear in what it joins: one of each level, each age, each value."""

    of_level: Float[Tensor, "Q+1 d"]
    of_age: Float[Tensor, "A d"]
    of_value: Float[Tensor, "V d"]


def encode(
    vectors: Vectors, level: Int64[Tensor, "B L"], age: Int64[Tensor, "B L"], value: Int64[Tensor, "B L"]
) -> Float[Tensor, "B L d"]:
    """Eq. (4), by level, bucket of the age and value."""
    pairs = zip((level, age, value), vectors, strict=True)
    of_level, of_age, of_value = (nn.functional.embedding(index, table) for index, table in pairs)
    return of_level + of_age + of_value


class Encoding(nn.Module):
    """MIEU of one modality, eqs. (2) to (4)."""

    def __init__(self, buckets: int, dim: int, width: int) -> None:
        super().__init__()
        self.scale, self.offset = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))
        self.buckets = nn.Embedding(buckets, width)
        self.continuous = nn.Parameter(torch.randn(width))
        self.of_similarity = nn.Linear(2 * width, width)
        self.of_age = nn.Linear(width, width, bias=False)
        self.of_value = nn.Linear(dim, width, bias=False)

    def scaled(self) -> Float[Tensor, " Q+1"]:
        """rhat of every level, eq. (2)."""
        levels = torch.arange(LEVELS + 1, device=self.scale.device).to(self.scale.dtype)
        return (self.scale * levels / LEVELS + self.offset).clamp(0, 1)

    def bucket(self) -> Int64[Tensor, " Q+1"]:
        """Bucket of every level, in whole numbers, which fp64 holds: no rounding of a product decides it."""
        scale, offset = ((one.detach() * _FIXED).round().double() for one in (self.scale, self.offset))
        levels = torch.arange(LEVELS + 1, device=self.scale.device)
        fixed = (scale * levels + offset * LEVELS).clamp(0, LEVELS * _FIXED)
        return (fixed * (self.buckets.num_embeddings - 1) / (LEVELS * _FIXED)).floor().long()

    def discrete(self) -> Float[Tensor, "Q+1 d"]:
        """r_d of every level, eq. (3)."""
        return self.scaled()[:, None] * self.buckets(self.bucket())

    def forward(self, ages: Float[Tensor, "A d"], values: Float[Tensor, "V D"]) -> Vectors:
        """Of every level, and of ages and values by their vectors."""
        continuous = self.scaled()[:, None] * self.continuous
        similar = self.of_similarity(torch.cat([self.discrete(), continuous], dim=1))
        return Vectors(similar, self.of_age(ages), self.of_value(values))


def masked_softmax(scores: Float[Tensor, "*B L"], mask: Float[Tensor, "*#B L"]) -> Float[Tensor, "*B L"]:
    """Weights of what the mask has; zeros where it has nothing."""
    return torch.softmax(scores + (mask - 1) * 1e9, dim=-1) * mask


class Alone(nn.Module):
    """The control of MIFU: every behaviour's vector of a modality as it is, normed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        own: Float[Tensor, "B L d"],
        other: Float[Tensor, "B L d"],
        mask: Float[Tensor, "B L"],
    ) -> Float[Tensor, "B L d"]:
        """Fused vectors of one modality; `mask` is of the other modality, whose vectors behind it are zeros."""
        return self.norm(own + self.fused(own, other, mask))

    def fused(
        self, own: Float[Tensor, "B L d"], other: Float[Tensor, "B L d"], mask: Float[Tensor, "B L"]
    ) -> Float[Tensor, "B L d"]:
        """What the other modality adds."""
        return torch.zeros_like(own)


class CrossAttention(Alone):
    """MIFU, eq. (5): each behaviour of a modality asks all behaviours of the other one."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def fused(
        self, own: Float[Tensor, "B L d"], other: Float[Tensor, "B L d"], mask: Float[Tensor, "B L"]
    ) -> Float[Tensor, "B L d"]:
        scores = self.query(own) @ self.key(other).transpose(1, 2) / math.sqrt(own.shape[-1])
        return masked_softmax(scores, mask[:, None, :]) @ self.value(other)


class Gate(Alone):
    """MIFU in time linear in the history: the same behaviour and the mean of all, in the other modality, through a
    gate."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gate, self.value = nn.Linear(3 * width, width), nn.Linear(2 * width, width, bias=False)

    def fused(
        self, own: Float[Tensor, "B L d"], other: Float[Tensor, "B L d"], mask: Float[Tensor, "B L"]
    ) -> Float[Tensor, "B L d"]:
        mean = other.sum(1, keepdim=True) / mask.sum(1).clamp(min=1)[:, None, None]
        gate = torch.sigmoid(self.gate(torch.cat([own, other, own * other], dim=2)))
        return gate * self.value(torch.cat([other, mean.expand_as(other)], dim=2))


FUSIONS: dict[str, type[Alone]] = {"attention": CrossAttention, "gate": Gate, "none": Alone}


def distribution_loss(
    decoded: Float[Tensor, "B L"], similarity: Float[Tensor, "B L"], mask: Float[Tensor, "B L"], tau: float
) -> Float[Tensor, " B"]:
    """KL(p || q) of eq. (7) in one modality; 0 for a history of fewer than two behaviours."""
    beyond = (mask - 1) * 1e9
    true = torch.log_softmax(similarity / tau + beyond, dim=1)
    found = torch.log_softmax(decoded + beyond, dim=1)
    return (true.exp() * (true - found) * mask).sum(1) * (mask.sum(1) >= _FEWEST)


def ranks(values: Float[Tensor, "B L"], mask: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Rank of each value among those that the mask has, ties getting their mean."""
    below = (values[:, None, :] < values[:, :, None]).to(mask.dtype)
    equal = (values[:, None, :] == values[:, :, None]).to(mask.dtype)
    return ((below + 0.5 * equal) * mask[:, None, :]).sum(2)


def rank_correlation(
    one: Float[Tensor, "B L"], other: Float[Tensor, "B L"], mask: Float[Tensor, "B L"]
) -> Float[Tensor, " B"]:
    """Spearman's, over what the mask has; NaN where all values of a side are equal."""
    count = mask.sum(1, keepdim=True)
    a, b = ((ranks(side, mask) - count / 2) * mask for side in (one, other))
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()


def mean_where(values: Sequence[Float[Tensor, " B"]], there: Sequence[Bool[Tensor, " B"]]) -> Float[Tensor, " B"]:
    """Mean of each row over the values that are there; NaN where none is."""
    stacked, present = torch.stack([*values]), torch.stack([*there])
    return torch.where(present, stacked, 0).sum(0) / present.sum(0)
