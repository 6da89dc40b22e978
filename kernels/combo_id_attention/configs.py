"""How launches of Combo-ID attention are cut into programs, and the constants that its kernels are compiled with."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from kernels.compile import ARCHITECTURES
from kernels.tiling import power_of_two

_NARROW, _WIDE = 16, 64
"""Most fields of one side for each bucket."""

Bucket = Literal["narrow", "wide"]


@dataclass(frozen=True)
class Config:
    """How a launch is cut into programs."""

    heads: int
    """Heads of one program, a power of two. Programs of the same candidates repeat ids, gate and hash."""
    candidates: int
    """Candidates of one program, which share one read of the user's side."""
    num_warps: int
    num_stages: int = 1


_BUCKETS: dict[Bucket, Config] = {
    "narrow": Config(heads=4, candidates=8, num_warps=4),
    "wide": Config(heads=1, candidates=32, num_warps=8),
}
CONFIGS: dict[tuple[int, Bucket], Config] = {
    (arch, bucket): config for arch in ARCHITECTURES for bucket, config in _BUCKETS.items()
}
"""By architecture and number of fields, never by batch: a candidate gets the same bits in every batch."""


def choose(tokens: Tensor, num_user: int, num_item: int) -> Config:
    """Configuration for tokens on this device; raises ValueError for more fields than the widest bucket holds."""
    return CONFIGS[_architecture(tokens), bucket_of(num_user, num_item)]


def bucket_of(num_user: int, num_item: int) -> Bucket:
    """Bucket of configurations; raises ValueError beyond the widest."""
    fields = max(num_user, num_item)
    if fields > _WIDE:
        raise ValueError(f"the kernel holds at most {_WIDE} user fields and {_WIDE} item fields, got {fields}")
    return "narrow" if fields <= _NARROW else "wide"


def padded(size: int, dtype: torch.dtype) -> int:
    """Extent of a tile's axis: a power of two, and no less than a matrix product of this type sums over."""
    return max(16 if dtype == torch.float16 else 8, power_of_two(size))


def constants_of(num_user: int, num_heads: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """What both kernels must know of the sizes."""
    return {
        "NUM_USER": num_user,
        "NUM_HEADS": num_heads,
        "WIDTH": width,
        "SCALE": width**-0.5,
        "BLOCK_USER": padded(num_user, dtype),
        "BLOCK_WIDTH": padded(width, dtype),
    }


def _architecture(tokens: Tensor) -> int:
    """The newest tuned architecture that is not newer than the device; sm_80 for the interpreter."""
    if not tokens.is_cuda:
        return ARCHITECTURES[0]
    major, minor = torch.cuda.get_device_capability(tokens.device)
    return max(arch for arch in ARCHITECTURES if arch <= 10 * major + minor)
