"""What the two kernels of Combo-ID attention are made of; equations as in reference.py.

Tiles are [heads, rows, columns]. Masks `known` (heads) and `real` (fields) are 1-D.
"""

import triton
import triton.language as tl

from kernels.combo_id_attention.reference import PRIMES

FIRST_PRIME = tl.constexpr(PRIMES[0])
SECOND_PRIME = tl.constexpr(PRIMES[1])
_LEAST_SUM = tl.constexpr(16)


@triton.jit
def find_request(ends_ptr, num_requests, candidate):
    """First request that ends after `candidate`, else the last one."""
    low = tl.zeros((), tl.int32)
    high = low + num_requests - 1
    while low < high:
        middle = (low + high) // 2
        past = tl.load(ends_ptr + middle) <= candidate
        low = tl.where(past, middle + 1, low)
        high = tl.where(past, high, middle)
    return low


@triton.jit
def load_salt(salt_ptr, field, real, NUM_FIELDS: tl.constexpr):
    """a, b, c, d of (1) for one codebook, each int32, which is wide enough for them."""
    a = tl.load(salt_ptr + field, real, 0).to(tl.int32)
    b = tl.load(salt_ptr + NUM_FIELDS + field, real, 0).to(tl.int32)
    c = tl.load(salt_ptr + 2 * NUM_FIELDS + field, real, 0).to(tl.int32)
    d = tl.load(salt_ptr + 3 * NUM_FIELDS + field, real, 0).to(tl.int32)
    return a, b, c, d


@triton.jit
def code(ids, salt, PRIME: tl.constexpr):
    """Equation (1) in int64, which it does not leave; x is not negative for any id."""
    x = ids % PRIME
    x = tl.where(x < 0, x + PRIME, x)
    sum_a = (salt[0].to(tl.int64) * x + salt[1].to(tl.int64)) % PRIME
    sum_b = (sum_a * x + salt[2].to(tl.int64)) % PRIME
    return ((sum_b * x + salt[3].to(tl.int64)) % PRIME).to(tl.uint32)


@triton.jit
def load_scores(table_ptr, left, right, wanted, head, NUM_HEADS: tl.constexpr, PRIME: tl.constexpr, SIZE: tl.constexpr):
    """Equation (2) and the scores of these rows, [heads, I, J]; zeros where no pair is wanted."""
    # The sum of two codes below 2^31 does not leave uint32.
    total = left[:, None] + right[None, :]
    row = tl.where(total >= PRIME, total - PRIME, total) % SIZE
    pointers = table_ptr + row.to(tl.int64)[None, :, :] * NUM_HEADS + head[:, None, None]
    return tl.load(pointers, wanted[None, :, :] & (head < NUM_HEADS)[:, None, None], 0.0).to(tl.float32)


@triton.jit
def load_heads(tokens_ptr, head, field, real, column, NUM_HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Queries [heads, F, D], keys turned [heads, D, F], values [heads, F, D] of the tokens of one row."""
    known, within = head < NUM_HEADS, column < WIDTH
    PARTS: tl.constexpr = 3 * NUM_HEADS + 2
    inside = known[:, None, None] & real[None, :, None] & within[None, None, :]
    turned = known[:, None, None] & within[None, :, None] & real[None, None, :]
    place = (field[None, :, None] * PARTS + head[:, None, None]) * WIDTH + column[None, None, :]
    place_turned = (field[None, None, :] * PARTS + head[:, None, None]) * WIDTH + column[None, :, None]
    query = tl.load(tokens_ptr + place, inside, 0.0)
    key = tl.load(tokens_ptr + (NUM_HEADS + 1) * WIDTH + place_turned, turned, 0.0)
    value = tl.load(tokens_ptr + (2 * NUM_HEADS + 2) * WIDTH + place, inside, 0.0)
    return query, key, value


@triton.jit
def load_gate_query(tokens_ptr, field, real, column, NUM_HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """[F, D]"""
    place = (field[:, None] * (3 * NUM_HEADS + 2) + NUM_HEADS) * WIDTH + column[None, :]
    return tl.load(tokens_ptr + place, real[:, None] & (column < WIDTH)[None, :], 0.0)


@triton.jit
def load_gate_key(tokens_ptr, field, real, column, NUM_HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Turned: [D, F]"""
    place = (field[None, :] * (3 * NUM_HEADS + 2) + 2 * NUM_HEADS + 1) * WIDTH + column[:, None]
    return tl.load(tokens_ptr + place, (column < WIDTH)[:, None] & real[None, :], 0.0)


@triton.jit
def load_mix(mix_ptr, head, NUM_HEADS: tl.constexpr):
    """m_0, m_1, m_2 of (6), each [heads, 1, 1]."""
    known = head < NUM_HEADS
    of_combo = tl.load(mix_ptr + head, known, 0.0)
    of_dot = tl.load(mix_ptr + NUM_HEADS + head, known, 0.0)
    of_both = tl.load(mix_ptr + 2 * NUM_HEADS + head, known, 0.0)
    return of_combo[:, None, None], of_dot[:, None, None], of_both[:, None, None]


@triton.jit
def product(left, right):
    """[I, K] x [K, J], summed in fp32."""
    if left.shape[1] < _LEAST_SUM:
        result = tl.sum(left[:, :, None] * right[None, :, :], 1)
    else:
        result = tl.dot(left, right, input_precision="ieee")
    return result


@triton.jit
def products(left, right):
    """[heads, I, K] x [heads, K, J], summed in fp32."""
    if left.shape[0] == 1:
        # Triton 3.6 and 3.7 give each warp heads of its own, so that all warps would compute the only one.
        left = tl.reshape(left, left.shape[1], left.shape[2])
        result = product(left, tl.reshape(right, right.shape[1], right.shape[2]))[None, :, :]
    elif left.shape[2] < _LEAST_SUM:
        result = tl.sum(left[:, :, :, None] * right[:, None, :, :], 2)
    else:
        result = tl.dot(left, right, input_precision="ieee")
    return result


@triton.jit
def gated(first, second, gate_query, gate_key, SCALE: tl.constexpr):
    """Equations (3) and (4)."""
    dot = product(gate_query, gate_key) * SCALE
    share = 1.0 / (1.0 + tl.exp(-dot))
    return second + share[None, :, :] * (first - second)


@triton.jit
def mirrored(combo, field):
    """The part above the diagonal on both sides, and zeros on it."""
    upper = tl.where((field[:, None] < field[None, :])[None, :, :], combo, 0.0)
    return upper + tl.permute(upper, (0, 2, 1))


@triton.jit
def keep(combo, query, key, mix, tau, valid, SCALE: tl.constexpr):
    """Equations (5) to (7): scores, -inf where dropped, and weights."""
    dot = products(query, key) * SCALE
    score = mix[0] * combo + mix[1] * dot + mix[2] * combo * dot
    kept = tl.minimum(1.0 / (1.0 + tl.exp(-dot)) - tau[None, :, :], 1.0)
    # Written so that a score that is not a number counts as kept, and shows.
    dropped = (kept <= 0.0) | (valid[None, :, :] == 0)
    return tl.where(dropped, float("-inf"), score), tl.where(dropped, 0.0, kept)


@triton.jit
def finite(peak):
    """Zero where no column is kept, so that differences to it are not NaN."""
    return tl.where(peak == float("-inf"), 0.0, peak)


@triton.jit
def weigh(score, kept, peak, value):
    """Sum of the weights, [heads, rows], and the weighted sum of the values, relative to exp(peak)."""
    weight = tl.exp(score - finite(peak)[:, :, None]) * kept
    return tl.sum(weight, 2), products(weight.to(value.dtype), value)


@triton.jit
def divided(summed, total):
    """Equation (8)."""
    return summed / total[:, :, None]
