"""How launches of consistency pruning are laid out, and the constants that its kernel is compiled with."""

from dataclasses import dataclass

import torch

from kernels.compile import ARCHITECTURES
from kernels.consistency_pruning.state import Rule
from kernels.tiling import power_of_two


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a program is laid out, and what it is for."""

    block: int
    """Most candidates and most slots of a request; a power of two."""
    num_warps: int
    shares: bool = False
    """Whether it is meant for categories as shares, too, not only as ids."""
    in_registers: bool = True
    """Rows of parents are looked up in registers where no gather crosses warps, which Triton 3.6 and 3.7 cannot
    compile; others through the cache."""
    num_stages: int = 1


_LANES = 32
"""Threads of a warp."""
_TILE = 8192
"""Most elements of a tile of candidates times categories: more would not stay in registers."""
_CONFIGS = {
    "64": Config(block=64, num_warps=1),
    "128": Config(block=128, num_warps=1),
    "128-shares": Config(block=128, num_warps=8, shares=True),
    "1024": Config(block=1024, num_warps=16, shares=True, in_registers=False),
}
CONFIGS: dict[int, dict[str, Config]] = dict.fromkeys(ARCHITECTURES, _CONFIGS)
"""Architecture -> bucket, from the larger of candidates and slots -> configuration; all architectures alike so far."""


def choose(arch: int, candidates: int, slots: int, width: int) -> Config:
    """The smallest configuration that holds a request; raises ValueError where none does."""
    configs = CONFIGS.get(arch, CONFIGS[max(known for known in CONFIGS if known <= max(arch, min(CONFIGS)))])
    for config in configs.values():
        if max(candidates, slots) <= config.block and (width == 1 or config.shares):
            return config
    raise ValueError(
        f"{candidates} candidates and {slots} slots per request, the kernel takes at most "
        f"{max(config.block for config in configs.values())}: choose the best ones with crss_candidates first"
    )


def constants(config: Config, rule: Rule, dtype: torch.dtype, sizes: tuple[int, int, int]) -> dict[str, int | float]:
    """The kernel's compile-time parameters, in order; `dtype` of the scores, `sizes` (K, M, G)."""
    slots, codebooks, width = sizes
    block_width, block_slots = min(power_of_two(width), _TILE // config.block), power_of_two(slots)
    # The lanes of a warp go along the slots first; the columns that they leave free have to be enough for all warps.
    inside_warps = config.num_warps == 1 or block_width * min(_LANES, block_slots) >= _LANES * config.num_warps
    return {
        "CODEBOOKS": codebooks,
        "CODEBOOK_SIZE": rule.codebook_size,
        "WIDTH": width,
        "WINDOW": rule.window,
        "MIN_KEEP": rule.min_keep,
        "PENALTY": rule.penalty,
        "LOWEST": torch.finfo(dtype).min,
        "BLOCK": config.block,
        "BLOCK_SLOTS": block_slots,
        "BLOCK_CODEBOOKS": power_of_two(codebooks),
        "BLOCK_WIDTH": block_width,
        "ROWS_IN_REGISTERS": config.in_registers and inside_warps,
        "MATCH_IN_REGISTERS": config.in_registers and config.num_warps == 1,
    }


def architecture(device: torch.device) -> int:
    """Compute capability times ten; the oldest one on the CPU, where the interpreter runs."""
    if device.type != "cuda":
        return min(CONFIGS)
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
