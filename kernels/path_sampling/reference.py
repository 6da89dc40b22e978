"""Path sampling of MATT-CTR (arXiv 2510.08932) as its definition, in plain PyTorch integers.

The paper states that confidences are the probabilities with which fields are drawn, iteratively, into several paths
of one instance. The equations below are our design (the paper's formulas were not at hand):

    (1) n[f]    = round(65535 c[f])                          weight of confidence c in [0, 1]
    (2) r       = Philox4x32-10 at counter (key_lo, key_hi, path, draw) in stream (seed, version); four words
    (3) T       = sum of n over the fields that are neither anchors nor drawn before in this path
    (4) x       = floor(r_i T / 2^32) for the first word r_i with (r_i T mod 2^32) >= (2^32 mod T)
    (5) drawn   = the first field f with n[0] + ... + n[f] > x over those fields
    (6) mask    = anchors | bits of the drawn fields

(4) is exact: it leaves floor(2^32 / T) words for each x. Where none of the four words passes (with probability below
2^-40), the path keeps every field of positive weight, and the row is flagged.

Legend: B rows, F fields (1 to 64), P paths, K draws per path.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from kernels.path_sampling.philox import WORD, Words, philox, split

MAX_FIELDS = 64
"""Bits of a mask."""

MAX_WEIGHT = 65535
"""Largest weight of a field. 64 of them stay below 2**22, which bounds the chance of four refused words."""

OUT_OF_RANGE = 1
"""Flag: a weight lies outside [0, MAX_WEIGHT]; every path of the row keeps all positive fields."""

TOO_FEW = 2
"""Flag: fewer positive weights than draws; every path of the row keeps all positive fields."""

REFUSED = 4
"""Flag: in some path a draw refused all four random words; that path keeps all positive fields."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is drawn, and from which random stream."""

    paths: int
    """Paths per instance, at least 1."""
    draws: int
    """Fields drawn per path, beside the anchors."""
    anchors: int = 0
    """Two's complement int64 whose bit f says that field f is in every path and never drawn."""
    seed: int = 0
    """uint32; another seed gives independent paths."""
    version: int = 0
    """uint32; the version of the served model."""

    def __post_init__(self) -> None:
        if self.paths < 1 or self.draws < 0:
            raise ValueError(f"a plan needs paths >= 1 and draws >= 0, found {self.paths} and {self.draws}")
        for name in ("seed", "version"):
            if not 0 <= getattr(self, name) <= WORD:
                raise ValueError(f"{name} must be in [0, 2**32), found {getattr(self, name)}")

    @property
    def stream(self) -> int:
        """Seed (low word) and version (high word) as two's complement int64."""
        return _signed(self.version << 32 | self.seed)


class PathMasks(NamedTuple):
    """Sampled paths."""

    masks: Int64[Tensor, "B P"]
    """Bit f (bit 63 is the sign) is set where the path keeps field f."""
    flags: Int32[Tensor, " B"]
    """0, or the sum of OUT_OF_RANGE, TOO_FEW and REFUSED."""


def quantise(confidence: Float[Tensor, "..."]) -> Int32[Tensor, "..."]:
    """Weights of confidences in [0, 1], eq. (1): ties to even; what lies outside is clamped, NaN becomes 0.

    The product is taken in fp64, where that of an fp16 or fp32 confidence is exact.
    """
    return (torch.nan_to_num(confidence.double()).clamp(0, 1) * MAX_WEIGHT).round().to(torch.int32)


def anchor_mask(fields: Iterable[int]) -> int:
    """The anchors of a plan: the bits of these fields, as two's complement int64."""
    return _signed(sum(1 << field for field in set(fields)))


def field_bits(fields: int, device: torch.device | None = None) -> Int64[Tensor, " F"]:
    """Bit f of a mask, for each field."""
    return torch.tensor([_signed(1 << field) for field in range(fields)], dtype=torch.int64, device=device)


def unpack(masks: Int64[Tensor, "..."], fields: int) -> Bool[Tensor, "... F"]:
    """Whether each field is kept."""
    return (masks.unsqueeze(-1) & field_bits(fields, masks.device)) != 0


def pack(kept: Bool[Tensor, "... F"]) -> Int64[Tensor, "..."]:
    """The inverse of `unpack`."""
    return torch.where(kept, field_bits(kept.shape[-1], kept.device), 0).sum(-1)


def path_words(keys: Int64[Tensor, " B"], plan: Plan) -> Int32[Tensor, "B P K 4"]:
    """The random words of every draw, eq. (2), each a uint32 in the bits of an int32."""
    low, high = (half[:, None, None] for half in split(keys))
    path = torch.arange(plan.paths, device=keys.device)[None, :, None]
    draw = torch.arange(plan.draws, device=keys.device)[None, None, :]
    words = torch.stack(philox(Words(low, high, path, draw), (plan.seed, plan.version)), dim=-1)
    return torch.where(words >> 31 == 1, words - WORD - 1, words).to(torch.int32)


def bounded(words: Int64[Tensor, "... 4"], total: Int[Tensor, "..."]) -> tuple[Tensor, Tensor]:
    """An unbiased integer in [0, total) from uint32 words, and whether one of them was accepted, eq. (4)."""
    product = words * total.unsqueeze(-1)
    accepted = (product & WORD) >= ((WORD + 1) % total.clamp(min=1)).unsqueeze(-1)
    first = accepted.int().argmax(-1, keepdim=True)
    return (product >> 32).gather(-1, first).squeeze(-1), accepted.any(-1)


def path_selection_reference(
    weights: Int[Tensor, "B F"], words: Int32[Tensor, "B P K 4"], anchors: int = 0
) -> PathMasks:
    """Paths by successive sampling without replacement in proportion to `weights`, eq. (3) to (6)."""
    bits = field_bits(weights.shape[1], weights.device)
    drawable = torch.where(bits & anchors != 0, 0, weights.long())
    invalid = ((drawable < 0) | (drawable > MAX_WEIGHT)).any(1, keepdim=True)
    all_positive = anchors | pack(drawable > 0)[:, None]
    remaining = torch.where(invalid, 0, drawable)[:, None].expand(-1, words.shape[1], -1)
    masks = torch.full(words.shape[:2], anchors, device=words.device)
    refused = torch.zeros_like(masks, dtype=torch.bool)
    for draw in range(words.shape[2]):
        value, accepted = bounded(words[:, :, draw].long() & WORD, remaining.sum(-1))
        behind = remaining.cumsum(-1) - value[:, :, None]
        drawn = (behind > 0) & (behind <= remaining)
        masks = masks | pack(drawn)
        refused = refused | ~accepted
        remaining = torch.where(drawn, 0, remaining)
    flags = invalid[:, 0] * OUT_OF_RANGE
    flags = flags + ((drawable > 0).sum(1) < words.shape[2]) * TOO_FEW + refused.any(1) * REFUSED
    return PathMasks(torch.where(invalid | refused, all_positive, masks), flags.to(torch.int32))


def path_sampling_reference(weights: Int[Tensor, "B F"], keys: Int64[Tensor, " B"], plan: Plan) -> PathMasks:
    """Paths of the instances `keys`, eq. (2) to (6)."""
    return path_selection_reference(weights, path_words(keys, plan), plan.anchors)


def _signed(bits: int) -> int:
    """A uint64 as two's complement int64."""
    return bits - (1 << 64) if bits >> 63 else bits
