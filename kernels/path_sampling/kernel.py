"""Path sampling and the sketch lookup as Triton kernels.

One lane is one path: it holds the running sums of its row's weights along the first axis of the tile, so that a draw
costs no exchange between warps. Legend: R rows and P paths of a tile, F fields.
"""

# The body of a kernel is Triton's language, whose tensors, launch options and typed scalars Python's types do not show.
# pyright: reportArgumentType=false, reportCallIssue=false, reportInvalidTypeForm=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportPossiblyUnboundVariable=false
# pyright: reportGeneralTypeIssues=false

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.compile import ARCHITECTURES, Specialization, divisible_by_16
from kernels.path_sampling.reference import MAX_WEIGHT, OUT_OF_RANGE, REFUSED, TOO_FEW, Plan
from kernels.path_sampling.sketch import Layout

_FIELD_BITS = tl.constexpr(6)
_NOTHING = tl.constexpr(0x7FFFFFFF)
_MAX_WEIGHT = tl.constexpr(MAX_WEIGHT)
_OUT_OF_RANGE, _TOO_FEW, _REFUSED = tl.constexpr(OUT_OF_RANGE), tl.constexpr(TOO_FEW), tl.constexpr(REFUSED)


@triton.jit
def _try_word(word, total, refuse_below, value, accepted):
    """Eq. (4) for one word; words are tried from the last to the first, so that the first wins."""
    takes = word * total >= refuse_below
    return tl.where(takes, tl.umulhi(word, total), value), accepted | takes


@triton.jit
def _bounded(w0, w1, w2, w3, total):
    """An unbiased int32 in [0, total), and whether a word was accepted; total >= 0."""
    total = total.to(tl.uint32)
    divisor = tl.maximum(total, 1)
    refuse_below = (tl.zeros_like(divisor) - divisor) % divisor  # 2^32 modulo the divisor
    value = tl.zeros_like(w3)
    accepted = value != value
    value, accepted = _try_word(w3, total, refuse_below, value, accepted)
    value, accepted = _try_word(w2, total, refuse_below, value, accepted)
    value, accepted = _try_word(w1, total, refuse_below, value, accepted)
    value, accepted = _try_word(w0, total, refuse_below, value, accepted)
    return value.to(tl.int32), accepted


@triton.jit
def path_sampling_forward_kernel(
    masks_ptr,  # int64 [rows, paths]
    flags_ptr,  # int32 [rows]
    weights_ptr,  # int32 [rows, fields]
    source_ptr,  # int64 [rows] keys, or int32 [rows, paths, draws, 4] words
    rows,
    fields,
    paths,
    draws,
    stream: tl.int64,
    anchors: tl.int64,
    GIVEN_WORDS: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
    PATHS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    field = tl.arange(0, FIELDS)
    in_rows = row < rows
    one = tl.full((1,), 1, tl.int64)

    inside = (field[:, None] < fields) & in_rows[None, :]
    weights = tl.load(weights_ptr + row[None, :] * fields + field[:, None], mask=inside, other=0)  # (F, R)
    bits = (one << field)[:, None]
    drawable = tl.where((bits & anchors) != 0, 0, weights)
    invalid = tl.max(((drawable < 0) | (drawable > _MAX_WEIGHT)).to(tl.int32), axis=0)  # (R,)
    positive = drawable > 0
    all_positive = anchors | tl.sum(tl.where(positive, bits, 0), axis=0)
    flags = invalid * _OUT_OF_RANGE + (tl.sum(positive.to(tl.int32), axis=0) < draws).to(tl.int32) * _TOO_FEW
    sums = tl.cumsum(tl.where(invalid[None, :] != 0, 0, drawable), axis=0)
    full_total = tl.max(sums, axis=0)
    # A sum and its field in one number: the smallest number above a value names the first field above it.
    packed_sums = (sums << _FIELD_BITS) | field[:, None]

    if not GIVEN_WORDS:
        key = tl.load(source_ptr + row, mask=in_rows, other=0)
        key_low = key.to(tl.uint32)[:, None]
        key_high = (key >> 32).to(tl.uint32)[:, None]

    for first_path in range(0, paths, PATHS):
        path = first_path + tl.arange(0, PATHS)
        in_tile = in_rows[:, None] & (path < paths)[None, :]  # (R, P)
        at = row[:, None] * paths + path[None, :]
        total = tl.broadcast_to(full_total[:, None], (ROWS, PATHS))
        packed = tl.broadcast_to(packed_sums[:, :, None], (FIELDS, ROWS, PATHS))
        masks = tl.zeros((ROWS, PATHS), tl.int64) + anchors
        refused = tl.zeros((ROWS, PATHS), tl.int32)
        for draw in range(draws):
            if GIVEN_WORDS:
                word_ptr = source_ptr + (at * draws + draw) * 4
                w0 = tl.load(word_ptr, mask=in_tile, other=-1).to(tl.uint32, bitcast=True)
                w1 = tl.load(word_ptr + 1, mask=in_tile, other=-1).to(tl.uint32, bitcast=True)
                w2 = tl.load(word_ptr + 2, mask=in_tile, other=-1).to(tl.uint32, bitcast=True)
                w3 = tl.load(word_ptr + 3, mask=in_tile, other=-1).to(tl.uint32, bitcast=True)
            else:
                counter = tl.zeros((ROWS, PATHS), tl.uint32)
                w0, w1, w2, w3 = tl.philox(
                    stream, counter + key_low, counter + key_high, counter + path[None, :].to(tl.uint32), counter + draw
                )
            value, accepted = _bounded(w0, w1, w2, w3, total)
            refused |= (~accepted).to(tl.int32)
            # Modulo 2^32 the sums above the value come first and the others last: the smallest offset is that of the
            # drawn field, the largest that of the field before it.
            threshold = (value + 1) << _FIELD_BITS
            offset = packed - threshold[None, :, :]  # (F, R, P)
            drawn = threshold + tl.min(offset.to(tl.uint32, bitcast=True), axis=0).to(tl.int32, bitcast=True)
            largest = tl.max(offset.to(tl.uint32, bitcast=True), axis=0).to(tl.int32, bitcast=True)
            before = tl.where(largest < 0, threshold + largest, 0)
            left = total > 0
            weight = tl.where(left, (drawn >> _FIELD_BITS) - (before >> _FIELD_BITS), 0)
            masks |= tl.where(left, one << (drawn & 63), 0)
            packed = tl.where(offset >= 0, packed - (weight << _FIELD_BITS)[None, :, :], packed)
            total -= weight
        keep_all = (invalid[:, None] | refused) != 0
        tl.store(masks_ptr + at, tl.where(keep_all, all_positive[:, None], masks), mask=in_tile)
        flags |= tl.max(tl.where(in_tile, refused, 0), axis=1) * _REFUSED

    tl.store(flags_ptr + row, flags, mask=in_rows)


@triton.jit
def sketch_lookup_forward_kernel(
    bounds_ptr,  # int32 [keys]
    sketch_ptr,  # int32 [blocks, ROWS << LOG_WIDTH]
    keys_ptr,  # int64 [keys]
    num_keys,
    blocks,
    salt: tl.int64,
    ROWS: tl.constexpr,
    LOG_WIDTH: tl.constexpr,
    KEYS: tl.constexpr,
):
    COUNTERS: tl.constexpr = ROWS << LOG_WIDTH
    at = tl.program_id(0).to(tl.int64) * KEYS + tl.arange(0, KEYS)
    inside = at < num_keys
    key = tl.load(keys_ptr + at, mask=inside, other=0)
    end = tl.full((KEYS,), -1, tl.int32)
    w0, w1, w2, _ = tl.philox(salt, key.to(tl.uint32), (key >> 32).to(tl.uint32), end, end)
    block = tl.umulhi(w0, tl.zeros_like(w0) + blocks).to(tl.int64)

    # The whole block, in vector loads; what the key does not own cannot be the minimum.
    counter = tl.arange(0, COUNTERS)
    row, column = counter >> LOG_WIDTH, counter & ((1 << LOG_WIDTH) - 1)
    value = tl.load(sketch_ptr + block[:, None] * COUNTERS + counter[None, :], mask=inside[:, None], other=0)
    signed = tl.where(((w2[:, None] >> row[None, :]) & 1) != 0, -value, value)
    own_column = (w1[:, None] >> (row * LOG_WIDTH)[None, :]) & ((1 << LOG_WIDTH) - 1)
    lowest = tl.min(tl.where(own_column == column[None, :], signed, _NOTHING), axis=1)
    tl.store(bounds_ptr + at, tl.maximum(lowest, 0), mask=inside)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Tile of a program: its instances and, for paths, how many at once; further paths follow in a loop."""

    fields: int
    rows: int
    paths: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, kw_only=True)
class SketchConfig:
    """Tile of a program of the sketch lookup."""

    keys: int
    num_warps: int
    num_stages: int


# One warp: more would split the fields of a path, and each draw would cross shared memory.
_FIELDS_32 = Config(fields=32, rows=4, paths=8, num_warps=1, num_stages=1)
_FIELDS_64 = Config(fields=64, rows=2, paths=8, num_warps=1, num_stages=1)
CONFIGS: dict[tuple[int, str], Config] = {
    (arch, bucket): config
    for arch in ARCHITECTURES
    for bucket, config in (("fields32", _FIELDS_32), ("fields64", _FIELDS_64), ("given_words", _FIELDS_64))
}
_LAYOUT = Layout(blocks=1)
SKETCH_CONFIGS = {(arch, "sketch"): SketchConfig(keys=128, num_warps=4, num_stages=1) for arch in ARCHITECTURES}


def launch(weights: Tensor, keys: Tensor, plan: Plan, config: Config | None = None) -> tuple[Tensor, Tensor]:
    """Masks int64 [B, P] and flags int32 [B]: weights int32 [B, F], keys int64 [B]; words are drawn in registers."""
    bucket = "fields32" if weights.shape[1] <= _FIELDS_32.fields else "fields64"
    return _launch(weights, keys, plan, config or CONFIGS[architecture(weights), bucket])


def launch_given(weights: Tensor, words: Tensor, anchors: int, config: Config | None = None) -> tuple[Tensor, Tensor]:
    """Masks and flags as by `launch`, from given words int32 [B, P, K, 4]."""
    plan = Plan(paths=words.shape[1], draws=words.shape[2], anchors=anchors)
    return _launch(weights, words, plan, config or CONFIGS[architecture(weights), "given_words"])


def launch_sketch(sketch: Tensor, keys: Tensor, layout: Layout, config: SketchConfig | None = None) -> Tensor:
    """Lower bounds, int32 of the keys' shape."""
    config = config or SKETCH_CONFIGS[architecture(keys), "sketch"]
    bounds = torch.empty(keys.shape, dtype=torch.int32, device=keys.device)
    if keys.numel():
        sketch_lookup_forward_kernel[(triton.cdiv(keys.numel(), config.keys),)](
            bounds, sketch.contiguous(), keys.contiguous(), keys.numel(), layout.blocks, layout.salt,
            ROWS=layout.rows, LOG_WIDTH=layout.width.bit_length() - 1, KEYS=config.keys,
            num_warps=config.num_warps, num_stages=config.num_stages,
        )  # fmt: skip
    return bounds


def _launch(weights: Tensor, source: Tensor, plan: Plan, config: Config) -> tuple[Tensor, Tensor]:
    rows, fields = weights.shape
    masks = torch.empty(rows, plan.paths, dtype=torch.int64, device=weights.device)
    flags = torch.empty(rows, dtype=torch.int32, device=weights.device)
    if rows:
        path_sampling_forward_kernel[(triton.cdiv(rows, config.rows),)](
            masks, flags, weights.contiguous(), source.contiguous(),
            rows, fields, plan.paths, plan.draws, plan.stream, plan.anchors,
            GIVEN_WORDS=source.dim() > 1, FIELDS=config.fields, ROWS=config.rows, PATHS=config.paths,
            num_warps=config.num_warps, num_stages=config.num_stages,
        )  # fmt: skip
    return masks, flags


def architecture(tensor: Tensor) -> int:
    """The newest architecture with a configuration that the tensor's GPU is not older than; for a CPU, the oldest."""
    if tensor.device.type == "cpu":
        return ARCHITECTURES[0]
    major, minor = torch.cuda.get_device_capability(tensor.device)
    return max((arch for arch in ARCHITECTURES if arch <= 10 * major + minor), default=ARCHITECTURES[0])


def specializations() -> list[Specialization]:
    """The shipped kernels."""
    shipped = []
    for (arch, bucket), config in CONFIGS.items():
        given = bucket == "given_words"
        tile = {"GIVEN_WORDS": given, "FIELDS": config.fields, "ROWS": config.rows, "PATHS": config.paths}
        pointers = ["*i64", "*i32", "*i32", "*i32" if given else "*i64"]
        types = [*pointers, "i32", "i32", "i32", "i32", "i64", "i64"]
        shipped.append(_specialization(path_sampling_forward_kernel, (arch, bucket), types, tile, config))
    for key, config in SKETCH_CONFIGS.items():
        tile = {"ROWS": _LAYOUT.rows, "LOG_WIDTH": _LAYOUT.width.bit_length() - 1, "KEYS": config.keys}
        types = ["*i32", "*i32", "*i64", "i32", "i32", "i64"]
        shipped.append(_specialization(sketch_lookup_forward_kernel, key, types, tile, config))
    return shipped


def _specialization(
    kernel: Any, key: tuple[int, str], types: list[str], tile: dict[str, int], config: Config | SketchConfig
) -> Specialization:
    arch, bucket = key
    signature = dict(zip(kernel.arg_names, types + ["constexpr"] * len(tile), strict=True))
    aligned = divisible_by_16(kernel, [name for name in signature if name.endswith("_ptr")])
    return Specialization(
        "path_sampling", bucket, arch, kernel, signature, tile, aligned, config.num_warps, config.num_stages
    )
