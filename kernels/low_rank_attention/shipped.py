"""What of low-rank attention is compiled ahead, budgeted and recorded."""

from typing import Any, NamedTuple

import torch

from kernels.compile import ARCHITECTURES, Specialization, divisible_by_16
from kernels.low_rank_attention.kernel import (
    CONFIGS,
    Bucket,
    Config,
    absorbed_attention_kernel,
    low_rank_attention_kernel,
)

TYPES = {torch.float32: "fp32", torch.float16: "fp16"}


class Shape(NamedTuple):
    """Of a state that a bucket is compiled for."""

    heads: int
    rank: int
    head: int
    """Width of a head's keys and of its values."""

    @property
    def width(self) -> int:
        """Of all heads, and of a target."""
        return self.heads * self.head


SHAPES: dict[Bucket, Shape] = {"narrow": Shape(4, 32, 16), "wide": Shape(2, 64, 64)}
"""Rank 32 with four heads of 16, which the bars are set for, and a large state."""


def specializations() -> list[Specialization]:
    """All configurations for all architectures."""
    return [
        spec
        for arch in ARCHITECTURES
        for spec in (
            _factored(arch, torch.float32, "narrow"),
            _factored(arch, torch.float32, "wide"),
            _factored(arch, torch.float16, "narrow"),
            _factored(arch, torch.float16, "wide"),
            _factored(arch, torch.float16, "narrow", softmax=True),
            _absorbed(arch, torch.float16),
        )
    ]


def _factored(arch: int, dtype: torch.dtype, bucket: Bucket, *, softmax: bool = False) -> Specialization:
    config, shape = CONFIGS[arch, dtype][bucket], SHAPES[bucket]
    sizes = {"RANK": shape.rank, "KEY": shape.head, "VALUE": shape.head}
    blocks = {"BLOCK_R": shape.rank, "BLOCK_E": shape.head, "BLOCK_V": shape.head}
    tiles = config.tiles(2 * shape.rank * shape.head, 2 * shape.head)
    constexprs: dict[str, Any] = {"ranks_ptr": None, **sizes, **blocks, "TILES": tiles, "SOFTMAX": softmax}
    name = f"{'softmax' if softmax else 'linear'}-{TYPES[dtype]}-{bucket}"
    return _specialization(name, arch, low_rank_attention_kernel, constexprs, config)


def _absorbed(arch: int, dtype: torch.dtype) -> Specialization:
    config, width = CONFIGS[arch, dtype]["wide"], SHAPES["narrow"].width
    tiles = config.tiles(width * width, 2 * width)
    constexprs: dict[str, Any] = {"WIDTH": width, "OUT": width, "BLOCK_D": width, "BLOCK_V": width, "TILES": tiles}
    return _specialization(f"absorbed-{TYPES[dtype]}-wide", arch, absorbed_attention_kernel, constexprs, config)


def _specialization(name: str, arch: int, fn: Any, constexprs: dict[str, Any], config: Config) -> Specialization:
    constexprs |= {"BLOCK": config.block, "PRECISION": config.precision}
    floats = "*fp16" if "fp16" in name else "*fp32"
    signature = {parameter: "i32" for parameter in fn.arg_names}
    signature |= {parameter: floats for parameter in fn.arg_names if parameter.endswith("_ptr")}
    signature |= {"ends_ptr": "*i64"} | dict.fromkeys(constexprs, "constexpr")
    aligned = [parameter for parameter, kind in signature.items() if kind.startswith("*") or "stride" in parameter]
    return Specialization(
        "low_rank_attention",
        name,
        arch,
        fn,
        signature,
        constexprs,
        divisible_by_16(fn, aligned),
        config.num_warps,
        config.num_stages,
    )
