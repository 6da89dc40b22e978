"""Triton kernel of consistency pruning: one program per request, everything in registers, each byte moved once."""
# Types inside a kernel are those of Triton's compiler, which PyTorch's stubs and Python's types do not know.
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportAssignmentType=false

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.consistency_pruning.configs import Config, architecture, choose, constants
from kernels.consistency_pruning.state import Beams, Candidates, Pruned, Rule

_NONE = tl.constexpr(-(2**31))
"""Below the ascending integer of every score, that of -inf included."""


@triton.jit
def _ascending(score):
    """Order-preserving map of fp32 (no NaN, no -0.0) to int32; its own inverse on the bits."""
    bits = score.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _score(ascending):
    bits = ascending ^ ((ascending >> 31) & 0x7FFFFFFF)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _stable_order(score, live, rank, BLOCK: tl.constexpr):
    """Keys in the order (score descending, rank ascending), what is not live last: score above, place below."""
    high = tl.where(live, _ascending(score), _NONE).to(tl.int64)
    return tl.sort((high << 32) | (BLOCK - 1 - rank), descending=True)


@triton.jit
def _place(key, BLOCK: tl.constexpr):
    return (BLOCK - 1 - (key & 0xFFFFFFFF)).to(tl.int32)


@triton.jit
def _with_floor(keep, live, match, rank, MIN_KEEP: tl.constexpr, BLOCK: tl.constexpr):
    """Adds the candidates with the most agreement, then the best placed, until there are MIN_KEEP."""
    key = tl.where(live, match.to(tl.int64) * BLOCK + (BLOCK - 1 - rank), -1)
    for _ in range(MIN_KEEP):
        edge = tl.max(key, 0)
        keep = keep | ((key == edge) & live)
        key = tl.where(key == edge, -1, key)
    return keep


@triton.jit
def _rows_of_parents(
    table, columns, parent, live, num_slots, WIDTH: tl.constexpr, BLOCK_SLOTS: tl.constexpr, IN_REGISTERS: tl.constexpr
):
    """Columns [1, X] of the row of each candidate's parent in `table` [num_slots, WIDTH] -> [N, X].

    In registers each row is loaded once, for shuffles that grow with the square of the size; otherwise the cache
    serves the rows of parents with several candidates.
    """
    if IN_REGISTERS:
        slot = tl.arange(0, BLOCK_SLOTS)[:, None]
        rows = tl.load(table + slot * WIDTH + columns, (slot < num_slots) & (columns < WIDTH), 0)
        return tl.gather(rows, parent[:, None] + tl.zeros_like(columns), 0)
    return tl.load(table + parent[:, None] * WIDTH + columns, live[:, None] & (columns < WIDTH), 0)


@triton.jit
def _agreement(category, before, WIDTH: tl.constexpr):
    """Of candidates [N, X] with their parents, over one block of the width."""
    if WIDTH == 1:
        return tl.sum(((category == before) & (category >= 0)).to(tl.int32), 1)
    return tl.sum(tl.minimum(category, before), 1)


@triton.jit
def consistency_pruning_kernel(
    scores_ptr,
    tokens_ptr,
    categories_ptr,
    codes_ptr,
    last_ptr,
    match_ptr,
    need_ptr,
    next_scores_ptr,
    next_codes_ptr,
    next_last_ptr,
    next_match_ptr,
    parents_ptr,
    next_tokens_ptr,
    disagreeing_ptr,
    num_candidates,
    num_slots,
    CODEBOOKS: tl.constexpr,
    CODEBOOK_SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    WINDOW: tl.constexpr,
    MIN_KEEP: tl.constexpr,
    PENALTY: tl.constexpr,
    LOWEST: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_SLOTS: tl.constexpr,
    BLOCK_CODEBOOKS: tl.constexpr,
    BLOCK_WIDTH: tl.constexpr,
    ROWS_IN_REGISTERS: tl.constexpr,
    MATCH_IN_REGISTERS: tl.constexpr,
):
    request, rank = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    column, codebook = tl.arange(0, BLOCK_WIDTH)[None, :], tl.arange(0, BLOCK_CODEBOOKS)[None, :]
    first = request * num_candidates
    slots = request * num_slots
    WORDS: tl.constexpr = CODEBOOKS * CODEBOOK_SIZE

    score = tl.load(scores_ptr + first + rank, rank < num_candidates, -float("inf")).to(tl.float32)
    # A comparison with NaN is false, so that NaN is no candidate.
    key = _stable_order(tl.where(score == 0.0, 0.0, score), score > -float("inf"), rank, BLOCK)
    position = first + _place(key, BLOCK)
    high = (key >> 32).to(tl.int32)
    live = (high != _NONE) & (rank < WINDOW)
    score = _score(tl.where(live, high, 0))
    token = tl.load(tokens_ptr + position, live, -1)
    live = live & (token >= 0) & (token < num_slots * WORDS)
    parent = tl.where(live, token // WORDS, 0)
    word = tl.where(live, token % WORDS, 0)

    of_candidate = categories_ptr + position[:, None] * WIDTH
    of_slot = last_ptr + slots * WIDTH
    category = tl.load(of_candidate + column, live[:, None] & (column < WIDTH), 0)
    before = _rows_of_parents(of_slot, column, parent, live, num_slots, WIDTH, BLOCK_SLOTS, ROWS_IN_REGISTERS)
    agreement = _agreement(category, before, WIDTH)
    for start in range(BLOCK_WIDTH, WIDTH, BLOCK_WIDTH):
        further = tl.load(of_candidate + start + column, live[:, None] & (start + column < WIDTH), 0)
        before = _rows_of_parents(
            of_slot, start + column, parent, live, num_slots, WIDTH, BLOCK_SLOTS, ROWS_IN_REGISTERS
        )
        agreement += _agreement(further, before, WIDTH)
    zero = tl.zeros([1, 1], tl.int32)
    matched = _rows_of_parents(match_ptr + slots, zero, parent, live, num_slots, 1, BLOCK_SLOTS, MATCH_IN_REGISTERS)
    matched = tl.reshape(matched, [BLOCK]) + agreement
    needed = tl.load(need_ptr + request)

    keep = live
    disagree = live & (matched < needed)
    if PENALTY == 0.0:
        keep = live & (matched >= needed)
        if tl.sum(keep.to(tl.int32), 0) < MIN_KEEP:
            keep = _with_floor(keep, live, matched, rank, MIN_KEEP, BLOCK)
        disagree = live & (keep == 0)
        slot = tl.cumsum(keep.to(tl.int32), 0) - 1
    else:
        lowered = score - PENALTY * (needed - matched).to(tl.float32)
        lowered = tl.maximum(lowered.to(next_scores_ptr.dtype.element_ty).to(tl.float32), LOWEST)
        score = tl.where(disagree, lowered, score)
        order = _place(_stable_order(score, live, rank, BLOCK), BLOCK)
        # The inverse of a permutation: its places, sorted by what they hold.
        slot = tl.sort(order * BLOCK + rank) % BLOCK
    tl.store(disagreeing_ptr + request, tl.sum(disagree.to(tl.int32), 0))

    filled = tl.minimum(tl.sum(keep.to(tl.int32), 0), num_slots)
    keep = keep & (slot < num_slots)
    out = slots + slot
    tl.store(next_scores_ptr + out, score, keep)
    tl.store(next_match_ptr + out, matched, keep)
    tl.store(parents_ptr + out, parent, keep)
    tl.store(next_tokens_ptr + out, word, keep)
    path_mask = keep[:, None] & (codebook < CODEBOOKS)
    path = tl.load(codes_ptr + (slots + parent)[:, None] * CODEBOOKS + codebook, path_mask, 0)
    path = tl.where(codebook == (word // CODEBOOK_SIZE)[:, None], (word % CODEBOOK_SIZE)[:, None], path)
    tl.store(next_codes_ptr + out[:, None] * CODEBOOKS + codebook, path, path_mask)
    to_slot = next_last_ptr + out[:, None] * WIDTH
    tl.store(to_slot + column, category, keep[:, None] & (column < WIDTH))
    for start in range(BLOCK_WIDTH, WIDTH, BLOCK_WIDTH):
        inside = keep[:, None] & (start + column < WIDTH)
        tl.store(to_slot + start + column, tl.load(of_candidate + start + column, inside, 0), inside)

    dead = (rank >= filled) & (rank < num_slots)
    out = slots + rank
    tl.store(next_scores_ptr + out, -float("inf"), dead)
    tl.store(next_match_ptr + out, 0, dead)
    tl.store(parents_ptr + out, -1, dead)
    tl.store(next_tokens_ptr + out, -1, dead)
    tl.store(next_codes_ptr + out[:, None] * CODEBOOKS + codebook, -1, dead[:, None] & (codebook < CODEBOOKS))
    nothing: tl.constexpr = -1 if WIDTH == 1 else 0
    for start in range(0, WIDTH, BLOCK_WIDTH):
        inside = dead[:, None] & (start + column < WIDTH)
        tl.store(next_last_ptr + out[:, None] * WIDTH + start + column, nothing, inside)


def launch(candidates: Candidates, beams: Beams, need: Tensor, rule: Rule, config: Config | None = None) -> Pruned:
    """Runs the kernel where the tensors are; on the CPU only under the interpreter. Inputs as the operator checks."""
    batch, size, width = candidates.categories.shape
    _, slots, codebooks = beams.codes.shape
    config = config or choose(architecture(need.device), size, slots, width)
    device = need.device

    def empty(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    result = Pruned(
        beams=Beams(
            scores=empty(batch, slots, dtype=candidates.scores.dtype),
            codes=empty(batch, slots, codebooks),
            last=empty(batch, slots, width),
            match=empty(batch, slots),
        ),
        parents=empty(batch, slots),
        tokens=empty(batch, slots),
        disagreeing=empty(batch),
    )
    if batch == 0:
        return result
    run: Any = consistency_pruning_kernel[(batch,)]
    run(
        *(tensor.contiguous() for tensor in (*candidates, *beams[1:], need)),
        *result.beams,
        result.parents,
        result.tokens,
        result.disagreeing,
        size,
        slots,
        **constants(config, rule, candidates.scores.dtype, (slots, codebooks, width)),
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        enable_fp_fusion=False,
    )
    return result
