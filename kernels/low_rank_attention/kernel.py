"""Low-rank attention on a GPU: one program per chunk of one user's candidates and head, or block of outputs.

Programs find their user themselves: user u owns the program numbers from start(u) // CHUNK + u on, at least as many as
its chunks. So the grid needs the sizes of tensors only: no table, no wait for the device, and a CUDA graph stays valid
for other `ends`. A candidate's arithmetic does not depend on where its chunk lies, on other users or on the grid.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from kernels.compile import ARCHITECTURES
from kernels.low_rank_attention.reference import Variant
from kernels.tiling import power_of_two

Bucket = Literal["narrow", "wide"]


@dataclass(frozen=True)
class Config:
    """One compiled form."""

    block: int
    """Candidates in a tile."""
    precision: str
    """Of `tl.dot` on fp32 operands: "ieee" for fp32 storage; for fp16 "tf32", which holds its values exactly."""
    num_warps: int = 4
    num_stages: int = 2
    reuse: float = 20
    """Bytes of candidates per byte of state in a program: with 20, reading the state again adds at most a twentieth."""

    @property
    def options(self) -> dict[str, Any]:
        """For the launch; contraction to fused multiply-adds would round unlike the interpreter."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, "enable_fp_fusion": False}

    def tiles(self, state: int, per_candidate: int) -> int:
        """Tiles per program, for a state of so many elements and so many elements read and written per candidate."""
        return max(1, math.ceil(self.reuse * state / (per_candidate * self.block)))


_FP32: dict[Bucket, Config] = {"narrow": Config(64, "ieee"), "wide": Config(32, "ieee", num_warps=8)}
_FP16: dict[Bucket, Config] = {"narrow": Config(64, "tf32"), "wide": Config(64, "tf32", num_warps=8)}
CONFIGS: dict[tuple[int, torch.dtype], dict[Bucket, Config]] = {
    (arch, dtype): table for arch in ARCHITECTURES for dtype, table in ((torch.float32, _FP32), (torch.float16, _FP16))
}
"""By architecture and storage type, then by the size of the state that a program holds."""
_NARROW = 32 * 32


@triton.jit
def find_chunk(ends_ptr, num_users, num_candidates, CHUNK: tl.constexpr):
    """User, first candidate of this program's chunk, and end of the user's candidates.

    The user is the last one whose first program number is not above this program's.
    """
    chunk = tl.program_id(0).to(tl.int64)
    low = chunk * 0
    high = low + num_users - 1
    while low < high:
        middle = (low + high + 1) // 2
        start = tl.load(ends_ptr + middle - 1).to(tl.int64)
        fits = start // CHUNK + middle <= chunk
        low = tl.where(fits, middle, low)
        high = tl.where(fits, high, middle - 1)
    start = tl.load(ends_ptr + low - 1, mask=low > 0, other=0).to(tl.int64)
    end = tl.load(ends_ptr + low, mask=low < num_users - 1, other=num_candidates).to(tl.int64)
    first = start + (chunk - start // CHUNK - low) * CHUNK
    return low, first, tl.minimum(end, num_candidates)


@triton.jit
def low_rank_attention_kernel(
    queries_ptr,
    ends_ptr,
    keys_ptr,
    values_ptr,
    bias_ptr,
    ranks_ptr,
    out_ptr,
    num_candidates,
    num_users,
    num_heads,
    query_stride,
    RANK: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK: tl.constexpr,
    TILES: tl.constexpr,
    SOFTMAX: tl.constexpr,
    PRECISION: tl.constexpr,
):
    user, first, end = find_chunk(ends_ptr, num_users, num_candidates, BLOCK * TILES)  # pyright: ignore[reportGeneralTypeIssues]
    if first >= end:
        return
    head = tl.program_id(1).to(tl.int64)
    r, e, v = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_V)
    rank = RANK
    if ranks_ptr is not None:
        rank = tl.minimum(tl.load(ranks_ptr + user).to(tl.int32), RANK)
    valid = r < rank
    state = (user * num_heads + head) * RANK
    keys = tl.load(
        keys_ptr + (state + r[None, :]) * KEY + e[:, None], mask=valid[None, :] & (e < KEY)[:, None], other=0
    )
    values = tl.load(
        values_ptr + (state + r[:, None]) * VALUE + v[None, :], mask=valid[:, None] & (v < VALUE)[None, :], other=0
    ).to(tl.float32)
    bias = tl.load(bias_ptr + (user * num_heads + head) * VALUE + v, mask=v < VALUE, other=0).to(tl.float32)
    for tile in range(tl.cdiv(tl.minimum(end - first, BLOCK * TILES), BLOCK)):
        c = first + tile * BLOCK + tl.arange(0, BLOCK)
        inside = c < end
        queries = tl.load(
            queries_ptr + c[:, None] * query_stride + head * KEY + e[None, :],
            mask=inside[:, None] & (e < KEY)[None, :],
            other=0,
        )
        scores = tl.dot(queries, keys, input_precision=PRECISION)  # (BLOCK, BLOCK_R)
        if SOFTMAX:
            scores = tl.where(valid[None, :], scores, float("-inf"))
            # A user without rows has no largest score and no weights: exp(-inf) = 0 each, never NaN.
            top = tl.where(rank > 0, tl.max(scores, axis=1), 0.0)
            scores = tl.exp(scores - top[:, None])
            total = tl.where(rank > 0, tl.sum(scores, axis=1), 1.0)
            scores = scores / total[:, None]
        else:
            # An infinite query times a masked key is NaN, and rows beyond the rank do not count.
            scores = tl.where(valid[None, :], scores, 0.0)
        result = tl.dot(scores, values, input_precision=PRECISION) + bias[None, :]
        tl.store(
            out_ptr + (c[:, None] * num_heads + head) * VALUE + v[None, :],
            result.to(out_ptr.dtype.element_ty),
            mask=inside[:, None] & (v < VALUE)[None, :],
        )


@triton.jit
def absorbed_attention_kernel(
    targets_ptr,
    ends_ptr,
    product_ptr,
    bias_ptr,
    out_ptr,
    num_candidates,
    num_users,
    target_stride,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK: tl.constexpr,
    TILES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    user, first, end = find_chunk(ends_ptr, num_users, num_candidates, BLOCK * TILES)  # pyright: ignore[reportGeneralTypeIssues]
    if first >= end:
        return
    d = tl.arange(0, BLOCK_D)
    v = tl.program_id(1).to(tl.int64) * BLOCK_V + tl.arange(0, BLOCK_V)
    product = tl.load(
        product_ptr + (user * WIDTH + d[:, None]) * OUT + v[None, :],
        mask=(d < WIDTH)[:, None] & (v < OUT)[None, :],
        other=0,
    )
    bias = tl.load(bias_ptr + user * OUT + v, mask=v < OUT, other=0).to(tl.float32)
    for tile in range(tl.cdiv(tl.minimum(end - first, BLOCK * TILES), BLOCK)):
        c = first + tile * BLOCK + tl.arange(0, BLOCK)
        inside = c < end
        targets = tl.load(
            targets_ptr + c[:, None] * target_stride + d[None, :],
            mask=inside[:, None] & (d < WIDTH)[None, :],
            other=0,
        )
        result = tl.dot(targets, product, input_precision=PRECISION) + bias[None, :]
        tl.store(
            out_ptr + c[:, None] * OUT + v[None, :],
            result.to(out_ptr.dtype.element_ty),
            mask=inside[:, None] & (v < OUT)[None, :],
        )


def launch(
    queries: Float[Tensor, "C H E"],
    ends: Int[Tensor, " B"],
    keys: Float[Tensor, "B H R E"],
    values: Float[Tensor, "B H R V"],
    bias: Float[Tensor, "B HV"],
    ranks: Int[Tensor, " B"] | None = None,
    variant: Variant = "linear",
    config: Config | None = None,
) -> Float[Tensor, "C HV"]:
    """Eq. (6) of `reference.py` on the device of the tensors, which all have fp32 or all have fp16 storage."""
    (num_candidates, num_heads, key), (num_users, _, rank, value) = queries.shape, values.shape
    out = torch.empty(num_candidates, num_heads * value, dtype=queries.dtype, device=queries.device)
    blocks = padded(rank), padded(key), padded(value)
    config = config or choose(queries, blocks[0] * max(blocks[1:]))
    tiles = config.tiles(rank * (key + value), key + value)
    if not out.numel():
        return out
    queries = queries if queries.stride()[1:] == (key, 1) else queries.contiguous()
    grid = (num_candidates // (config.block * tiles) + num_users, num_heads)
    # Any: type checkers take compile-time parameters for `tl.constexpr` objects.
    run: Any = low_rank_attention_kernel[grid]
    run(
        queries,
        ends.contiguous(),
        keys.contiguous(),
        values.contiguous(),
        bias.contiguous(),
        None if ranks is None else ranks.contiguous(),
        out,
        num_candidates,
        num_users,
        num_heads,
        queries.stride(0),
        RANK=rank,
        KEY=key,
        VALUE=value,
        BLOCK_R=blocks[0],
        BLOCK_E=blocks[1],
        BLOCK_V=blocks[2],
        BLOCK=config.block,
        TILES=tiles,
        SOFTMAX=variant == "softmax",
        PRECISION=config.precision,
        **config.options,
    )
    return out


def launch_absorbed(
    targets: Float[Tensor, "C D"],
    ends: Int[Tensor, " B"],
    product: Float[Tensor, "B D HV"],
    bias: Float[Tensor, "B HV"],
    config: Config | None = None,
) -> Float[Tensor, "C HV"]:
    """Eq. (7) of `reference.py` on the device of the tensors, which all have fp32 or all have fp16 storage."""
    (num_candidates, width), (num_users, _, out_width) = targets.shape, product.shape
    out = torch.empty(num_candidates, out_width, dtype=targets.dtype, device=targets.device)
    block_v = min(padded(out_width), 64)
    config = config or choose(targets, padded(width) * block_v)
    tiles = config.tiles(width * block_v, width + block_v)
    if not out.numel():
        return out
    targets = targets if targets.stride(1) == 1 else targets.contiguous()
    grid = (num_candidates // (config.block * tiles) + num_users, triton.cdiv(out_width, block_v))
    run: Any = absorbed_attention_kernel[grid]
    run(
        targets,
        ends.contiguous(),
        product.contiguous(),
        bias.contiguous(),
        out,
        num_candidates,
        num_users,
        targets.stride(0),
        WIDTH=width,
        OUT=out_width,
        BLOCK_D=padded(width),
        BLOCK_V=block_v,
        BLOCK=config.block,
        TILES=tiles,
        PRECISION=config.precision,
        **config.options,
    )
    return out


def choose(candidates: Tensor, state: int) -> Config:
    """The configuration for the device and type of `candidates` and a largest padded matrix of `state` elements.

    Raises ValueError for a storage type without a kernel.
    """
    table = CONFIGS.get((_architecture(candidates), candidates.dtype))
    if table is None:
        raise ValueError(f"low_rank_attention has kernels for float32 and float16 storage, not {candidates.dtype}")
    return table["narrow" if state <= _NARROW else "wide"]


def padded(size: int) -> int:
    """The power of two, at least 16, that a tile of `tl.dot` needs."""
    return max(16, power_of_two(size))


def _architecture(tensor: Tensor) -> int:
    """Whose table applies: the newest that the GPU can run; an H100's where there is no GPU."""
    if not tensor.is_cuda:
        return 90
    major, minor = torch.cuda.get_device_capability(tensor.device)
    return max(arch for arch in ARCHITECTURES if arch <= major * 10 + minor)
