"""Triton kernels of Combo-ID attention and their launcher; equations as in reference.py.

A first pass works out, once per request, what the users' rows gather from the users' own columns: maximum, sum of
weights and weighted values. A second pass walks over packed candidates, adds the pairs with the item's fields, and
writes all rows. A program of it takes a run of neighbouring candidates and keeps the user's side in registers for as
long as the request stays the same. It finds the request itself, so the grid follows from sizes of tensors alone.

Legend: U user fields, I item fields, H heads, D head width.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.combo_id_attention.configs import Config, choose, constants_of, padded
from kernels.combo_id_attention.reference import Codebooks, Fields, Fusion, split
from kernels.combo_id_attention.tiles import (
    FIRST_PRIME,
    SECOND_PRIME,
    code,
    divided,
    find_request,
    finite,
    gated,
    keep,
    load_gate_key,
    load_gate_query,
    load_heads,
    load_mix,
    load_salt,
    load_scores,
    mirrored,
    weigh,
)
from kernels.tiling import power_of_two


@triton.jit
def combo_users_kernel(
    peaks_ptr,
    totals_ptr,
    values_ptr,
    tokens_ptr,
    ids_ptr,
    first_ptr,
    second_ptr,
    salt_ptr,
    mix_ptr,
    tau_ptr,
    NUM_USER: tl.constexpr,
    NUM_FIELDS: tl.constexpr,
    NUM_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    FIRST_SIZE: tl.constexpr,
    SECOND_SIZE: tl.constexpr,
    SCALE: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_USER: tl.constexpr,
    BLOCK_WIDTH: tl.constexpr,
):
    """Sums of one request's user rows over its user columns: peaks and totals [B, H, U], values [B, H, U, D], fp32."""
    request = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    field, column = tl.arange(0, BLOCK_USER), tl.arange(0, BLOCK_WIDTH)
    real = field < NUM_USER
    own_ptr = tokens_ptr + request * (NUM_USER * (3 * NUM_HEADS + 2) * WIDTH)
    gate_query = load_gate_query(own_ptr, field, real, column, NUM_HEADS, WIDTH)
    gate_key = load_gate_key(own_ptr, field, real, column, NUM_HEADS, WIDTH)

    ids = tl.load(ids_ptr + request * NUM_USER + field, real, 0)
    left = code(ids, load_salt(salt_ptr, field, real, NUM_FIELDS), FIRST_PRIME)
    right = code(ids, load_salt(salt_ptr + 4 * NUM_FIELDS, field, real, NUM_FIELDS), SECOND_PRIME)
    query, key, value = load_heads(own_ptr, head, field, real, column, NUM_HEADS, WIDTH)
    valid = real[:, None] & real[None, :]
    upper = valid & (field[:, None] < field[None, :])
    first = load_scores(first_ptr, left, left, upper, head, NUM_HEADS, FIRST_PRIME, FIRST_SIZE)
    second = load_scores(second_ptr, right, right, upper, head, NUM_HEADS, SECOND_PRIME, SECOND_SIZE)
    combo = mirrored(gated(first, second, gate_query, gate_key, SCALE), field)

    # A padding row keeps itself, so that it does not divide by zero.
    itself = field[:, None] == field[None, :]
    tau = tl.where(itself, -1.0, tl.load(tau_ptr + field[:, None] * NUM_FIELDS + field[None, :], valid, 0.0))
    mix = load_mix(mix_ptr, head, NUM_HEADS)
    score, kept = keep(combo, query, key, mix, tau, valid | itself, SCALE)
    peak = tl.max(score, 2)
    total, summed = weigh(score, kept, peak, value)

    place = (request * NUM_HEADS + head[:, None]) * NUM_USER + field[None, :]
    stored = (head < NUM_HEADS)[:, None] & real[None, :]
    tl.store(peaks_ptr + place, peak, stored)
    tl.store(totals_ptr + place, total, stored)
    within = stored[:, :, None] & (column < WIDTH)[None, None, :]
    tl.store(values_ptr + place[:, :, None] * WIDTH + column[None, None, :], summed, within)


@triton.jit(do_not_specialize=["num_requests", "num_candidates"])
def combo_candidates_kernel(
    output_ptr,
    peaks_ptr,
    totals_ptr,
    values_ptr,
    user_tokens_ptr,
    user_ids_ptr,
    item_tokens_ptr,
    item_ids_ptr,
    ends_ptr,
    first_ptr,
    second_ptr,
    salt_ptr,
    mix_ptr,
    tau_ptr,
    num_requests,
    num_candidates,
    NUM_USER: tl.constexpr,
    NUM_ITEM: tl.constexpr,
    NUM_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    FIRST_SIZE: tl.constexpr,
    SECOND_SIZE: tl.constexpr,
    SCALE: tl.constexpr,
    BLOCK_CANDIDATES: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_USER: tl.constexpr,
    BLOCK_ITEM: tl.constexpr,
    BLOCK_WIDTH: tl.constexpr,
):
    """All rows of BLOCK_CANDIDATES packed candidates for BLOCK_HEADS heads: output [C, U + I, H * D]."""
    NUM_FIELDS: tl.constexpr = NUM_USER + NUM_ITEM
    TOKEN: tl.constexpr = (3 * NUM_HEADS + 2) * WIDTH
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    user, item, column = tl.arange(0, BLOCK_USER), tl.arange(0, BLOCK_ITEM), tl.arange(0, BLOCK_WIDTH)
    user_real, item_real = user < NUM_USER, item < NUM_ITEM
    mix = load_mix(mix_ptr, head, NUM_HEADS)
    item_salt_ptr = salt_ptr + NUM_USER
    stored = (head < NUM_HEADS)[:, None, None] & (column < WIDTH)[None, None, :]
    item_stored = stored & item_real[None, :, None]
    item_place = item[None, :, None] * (NUM_HEADS * WIDTH) + head[:, None, None] * WIDTH + column[None, None, :]

    inner = item_real[:, None] & item_real[None, :]
    upper = inner & (item[:, None] < item[None, :])
    itself = item[:, None] == item[None, :]
    item_tau_ptr = tau_ptr + (NUM_USER + item)[:, None] * NUM_FIELDS
    tau_ii = tl.where(itself, -1.0, tl.load(item_tau_ptr + NUM_USER + item[None, :], inner, 0.0))
    # A padding row keeps itself, so that it does not divide by zero.
    inner |= itself
    across = user_real[:, None] & item_real[None, :]
    across_turned = item_real[:, None] & user_real[None, :]
    tau_ui = tl.load(tau_ptr + user[:, None] * NUM_FIELDS + NUM_USER + item[None, :], across, 0.0)
    tau_iu = tl.load(item_tau_ptr + user[None, :], across_turned, 0.0)
    user_stored = stored & user_real[None, :, None]
    user_place = user[None, :, None] * (NUM_HEADS * WIDTH) + head[:, None, None] * WIDTH + column[None, None, :]

    start = tl.program_id(0).to(tl.int64) * BLOCK_CANDIDATES
    stop = tl.minimum(start + BLOCK_CANDIDATES, num_candidates)
    while start < stop:
        request = find_request(ends_ptr, num_requests, start).to(tl.int64)
        end = tl.load(ends_ptr + request).to(tl.int64)
        # At least one candidate at a time, so that ends that are out of order cannot hang the GPU.
        end = tl.where(request == num_requests - 1, stop, tl.maximum(tl.minimum(end, stop), start + 1))
        own_ptr = user_tokens_ptr + request * (NUM_USER * TOKEN)
        user_query, user_key, user_value = load_heads(own_ptr, head, user, user_real, column, NUM_HEADS, WIDTH)
        user_gate = load_gate_query(own_ptr, user, user_real, column, NUM_HEADS, WIDTH)
        user_ids = tl.load(user_ids_ptr + request * NUM_USER + user, user_real, 0)
        user_first = code(user_ids, load_salt(salt_ptr, user, user_real, NUM_FIELDS), FIRST_PRIME)
        second_salt = load_salt(salt_ptr + 4 * NUM_FIELDS, user, user_real, NUM_FIELDS)
        user_second = code(user_ids, second_salt, SECOND_PRIME)
        place = (request * NUM_HEADS + head[:, None]) * NUM_USER + user[None, :]
        summed_before = (head < NUM_HEADS)[:, None] & user_real[None, :]
        user_peak = tl.load(peaks_ptr + place, summed_before, 0.0)
        user_total = tl.load(totals_ptr + place, summed_before, 1.0)
        user_sum = tl.load(values_ptr + place[:, :, None] * WIDTH + column[None, None, :], user_stored, 0.0)

        for candidate in range(start, end):
            row_ptr = item_tokens_ptr + candidate * (NUM_ITEM * TOKEN)
            query, key, value = load_heads(row_ptr, head, item, item_real, column, NUM_HEADS, WIDTH)
            gate_query = load_gate_query(row_ptr, item, item_real, column, NUM_HEADS, WIDTH)
            gate_key = load_gate_key(row_ptr, item, item_real, column, NUM_HEADS, WIDTH)
            ids = tl.load(item_ids_ptr + candidate * NUM_ITEM + item, item_real, 0)
            # Read again for each candidate, out of the nearest cache: kept in registers they would make others spill.
            left = code(ids, load_salt(item_salt_ptr, item, item_real, NUM_FIELDS), FIRST_PRIME)
            item_second_salt = load_salt(item_salt_ptr + 4 * NUM_FIELDS, item, item_real, NUM_FIELDS)
            right = code(ids, item_second_salt, SECOND_PRIME)
            row_ptr = output_ptr + candidate * (NUM_FIELDS * NUM_HEADS * WIDTH)
            first = load_scores(first_ptr, user_first, left, across, head, NUM_HEADS, FIRST_PRIME, FIRST_SIZE)
            second = load_scores(second_ptr, user_second, right, across, head, NUM_HEADS, SECOND_PRIME, SECOND_SIZE)
            combo_ui = gated(first, second, user_gate, gate_key, SCALE)
            score_ui, kept_ui = keep(combo_ui, user_query, key, mix, tau_ui, across, SCALE)
            top = tl.maximum(user_peak, tl.max(score_ui, 2))
            total, summed = weigh(score_ui, kept_ui, top, value)
            before = tl.exp(user_peak - finite(top))
            result = divided(summed + user_sum * before[:, :, None], total + user_total * before)
            tl.store(row_ptr + user_place, result, user_stored)
            combo_iu = tl.permute(combo_ui, (0, 2, 1))
            score_iu, kept_iu = keep(combo_iu, query, user_key, mix, tau_iu, across_turned, SCALE)
            over_users = tl.max(score_iu, 2)
            total_iu, summed_iu = weigh(score_iu, kept_iu, over_users, user_value)
            first = load_scores(first_ptr, left, left, upper, head, NUM_HEADS, FIRST_PRIME, FIRST_SIZE)
            second = load_scores(second_ptr, right, right, upper, head, NUM_HEADS, SECOND_PRIME, SECOND_SIZE)
            combo_ii = mirrored(gated(first, second, gate_query, gate_key, SCALE), item)
            score_ii, kept_ii = keep(combo_ii, query, key, mix, tau_ii, inner, SCALE)
            top = tl.maximum(over_users, tl.max(score_ii, 2))
            total, summed = weigh(score_ii, kept_ii, top, value)
            before = tl.exp(over_users - finite(top))
            result = divided(summed + summed_iu * before[:, :, None], total + total_iu * before)
            tl.store(row_ptr + NUM_USER * NUM_HEADS * WIDTH + item_place, result, item_stored)
        start = end


def launch(
    users: Fields,
    items: Fields,
    ends: Tensor,
    codebooks: Codebooks,
    fusion: Fusion,
    config: Config | None = None,
) -> Tensor:
    """The op on the device of its tensors; on CPU tensors under the interpreter. fp16 or fp32 tokens and scores.

    Raises ValueError for candidates without a request, for another type of tokens, and for more fields than a
    configuration holds.
    """
    num_candidates, num_requests = items.ids.shape[0], len(ends)
    if num_candidates and not num_requests:
        raise ValueError(f"{num_candidates} candidates of no request")
    if items.tokens.dtype not in (torch.float16, torch.float32):
        raise ValueError(f"the kernel takes tokens in float16 or float32, not {items.tokens.dtype}")
    num_user, num_item = users.ids.shape[1], items.ids.shape[1]
    num_heads, (dtype, device) = fusion.mix.shape[1], (items.tokens.dtype, items.tokens.device)
    width = split(items.tokens[:0], num_heads).query.shape[3]
    chosen = config or choose(items.tokens, num_user, num_item)
    output = torch.empty((num_candidates, num_user + num_item, num_heads * width), dtype=dtype, device=device)
    if not num_candidates:
        return output
    sums = [torch.empty((num_requests, num_heads, num_user, *last), device=device) for last in ((), (), (width,))]
    sides = [tensor.contiguous() for tensor in (*users, *items)]
    tables = [tensor.contiguous() for tensor in (*codebooks, fusion.mix.float(), fusion.tau.float())]
    constants = constants_of(num_user, num_heads, width, dtype) | {
        "FIRST_SIZE": codebooks.first.shape[0],
        "SECOND_SIZE": codebooks.second.shape[0],
        "BLOCK_HEADS": min(chosen.heads, power_of_two(num_heads)),
        "num_warps": chosen.num_warps,
        "num_stages": chosen.num_stages,
        "enable_fp_fusion": False,
    }
    head_blocks = triton.cdiv(num_heads, constants["BLOCK_HEADS"])
    if num_user:
        run: Any = combo_users_kernel[num_requests, head_blocks]
        run(*sums, *sides[:2], *tables, NUM_FIELDS=num_user + num_item, **constants)
    constants |= {"NUM_ITEM": num_item, "BLOCK_ITEM": padded(num_item, dtype), "BLOCK_CANDIDATES": chosen.candidates}
    run = combo_candidates_kernel[triton.cdiv(num_candidates, chosen.candidates), head_blocks]
    counts = (num_requests, num_candidates)
    run(output, *sums, *sides, ends.contiguous(), *tables, *counts, **constants)
    return output
