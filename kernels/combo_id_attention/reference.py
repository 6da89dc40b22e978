"""Combo-ID attention of DEA (arXiv 2503.11233) in plain PyTorch: the definition that every other form is held to.

The paper states that the ids of a pair of fields are joined, that the joint id is looked up in gated siamese
codebooks, and that pairs of low abundance are filtered by a threshold. The equations below are our design.

    code_k(f, id) = ((a x + b) x + c) x + d mod p_k,  x = id mod p_k,  a .. d = salt_kf            (1)
    row_k(i, j)   = (code_k(i) + code_k(j)) mod p_k mod s_k                 unordered            (2)
    gate(i, j)    = sigmoid(a_i . b_j / sqrt(D))                            i < j, then mirrored (3)
    A^c(i, j)     = gate S_1[row_1] + (1 - gate) S_2[row_2],  A^c(i, i) = 0                      (4)
    A^r(i, j)     = q_i . k_j / sqrt(D)                                                          (5)
    A             = m_0 A^c + m_1 A^r + m_2 A^c A^r                                              (6)
    keep(i, j)    = clamp(sigmoid(A^r) - tau_ij, 0, 1),  keep(i, i) = 1                          (7)
    o_i           = sum_j exp(A_ij) keep_ij v_j / sum_j exp(A_ij) keep_ij                        (8)

S_k[row] = w2 . ReLU(W1 C_k[row] + b1) + b2 per head is a constant of a trained codebook row, and is prestored (9).

Legend: B requests, C candidates packed over them, N either, F fields = Fu of the user then Fi of the item, H heads,
D head width, s_k rows of codebook k. A token holds [q: (H+1) D | k: (H+1) D | v: H D]; head H is the gate's.
Gradients flow to everything but the ids.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

PRIMES = (2**31 - 1, 2**31 - 19)
"""p_k: two primes, so that two ids below 2^61 are the same for both codebooks only if they are equal, and so small
that no intermediate of (1) and (2) leaves int64."""

MixMode = Literal["add", "mul", "gate", "half"]


class Fields(NamedTuple):
    """Fields of users (N = B) or of packed candidates (N = C)."""

    tokens: Float[Tensor, "N F P"]
    """fp16, fp32 or fp64; P = (3 H + 2) D."""
    ids: Int[Tensor, "N F"]
    """int64 >= 0, raw: no vocabulary is needed."""


class Codebooks(NamedTuple):
    """Two siamese codebooks, absorbed into one score per row and head (9)."""

    first: Float[Tensor, "S1 H"]
    second: Float[Tensor, "S2 H"]
    salt: Int[Tensor, "2 4 F"]
    """int64 [codebook, (a, b, c, d), field], from `field_salt`."""


class Fusion(NamedTuple):
    """How the two score maps become one, and which pairs are kept."""

    mix: Float[Tensor, "3 H"]
    """m_0, m_1, m_2 of (6), from `mix`."""
    tau: Float[Tensor, "F F"]
    """Thresholds in [0, 1) against sigmoid(A^r). tau = -1 keeps a pair with full weight; the diagonal is not read."""


class Heads(NamedTuple):
    """A token's parts."""

    query: Float[Tensor, "N H F D"]
    key: Float[Tensor, "N H F D"]
    value: Float[Tensor, "N H F D"]
    gate_query: Float[Tensor, "N 1 F D"]
    gate_key: Float[Tensor, "N 1 F D"]


def combo_id_attention(
    users: Fields, items: Fields, ends: Int[Tensor, " B"], codebooks: Codebooks, fusion: Fusion
) -> Float[Tensor, "C F HD"]:
    """o_i of all F fields of each candidate (8), head by head in the last axis, in the dtype of the tokens.

    Request b owns the candidates ends[b-1] to ends[b]; candidates past the last end belong to the last request.
    """
    request = request_of(ends, items.ids.shape[0])
    ids = torch.cat([users.ids[request], items.ids], dim=1)
    tokens = torch.cat([users.tokens[request], items.tokens], dim=1)
    heads = split(tokens.to(torch.promote_types(tokens.dtype, torch.float32)), codebooks.first.shape[1])
    codes = field_codes(ids, codebooks.salt)
    rows = pair_rows(codes, codes, (codebooks.first.shape[0], codebooks.second.shape[0]))
    scores = (codebooks.first[rows[..., 0]], codebooks.second[rows[..., 1]])
    combo = mirror(gated(gate(heads, heads), scores))
    return attend(heads, combo, fusion).to(tokens.dtype)


def request_of(ends: Int[Tensor, " B"], num_candidates: int) -> Int[Tensor, " C"]:
    """Request of each packed candidate."""
    order = torch.arange(num_candidates, device=ends.device)
    return torch.searchsorted(ends.long(), order, right=True).clamp(max=ends.shape[0] - 1)


def split(tokens: Float[Tensor, "N F P"], num_heads: int) -> Heads:
    """Tokens by head, the gate's apart. Raises ValueError where the width is not (3 H + 2) D."""
    width, rest = divmod(tokens.shape[2], 3 * num_heads + 2)
    if rest or not width:
        raise ValueError(f"a token of {num_heads} heads has (3 * {num_heads} + 2) * D elements, got {tokens.shape[2]}")
    parts = tokens.unflatten(2, (3 * num_heads + 2, width)).transpose(1, 2)
    query, gate_query, key, gate_key, value = parts.split((num_heads, 1, num_heads, 1, num_heads), dim=1)
    return Heads(query, key, value, gate_query, gate_key)


def field_codes(ids: Int[Tensor, "N F"], salt: Int[Tensor, "2 4 F"]) -> Int[Tensor, "N F 2"]:
    """code_k(f, id) in [0, p_k) for both codebooks (1).

    Cubic, because a linear code of ids in sequence is a lattice, which for some salts leaves most rows unused.
    """
    codes = []
    for prime, (a, b, c, d) in zip(PRIMES, salt, strict=True):
        x = ids % prime
        codes.append((((a * x + b) % prime * x + c) % prime * x + d) % prime)
    return torch.stack(codes, dim=-1)


def coded_ids(ids: Int[Tensor, "N F"], salt: Int[Tensor, "2 4 F"]) -> Int[Tensor, "N F"]:
    """For each id one in [0, p_1 p_2) with the same codes under `coded_salt`, where (1) is no more than its rest.

    The one that the Chinese remainder theorem names: what a graph would compute of an id becomes a part of its tables.
    """
    first, second = field_codes(ids, salt).unbind(-1)
    steps = (second - first) * pow(PRIMES[0], -1, PRIMES[1]) % PRIMES[1]
    return first + PRIMES[0] * steps


def coded_salt(num_fields: int) -> Int[Tensor, "2 4 F"]:
    """a, b, d = 0 and c = 1: the code of x is x mod p_k."""
    return torch.tensor([0, 0, 1, 0])[None, :, None].repeat(2, 1, num_fields)


def pair_rows(
    left: Int[Tensor, "N I 2"], right: Int[Tensor, "N J 2"], sizes: tuple[int, int]
) -> Int[Tensor, "N I J 2"]:
    """row_k(i, j) in [0, s_k) for both codebooks (2)."""
    total = left[:, :, None] + right[:, None, :]
    return torch.stack([total[..., k] % p % s for k, (p, s) in enumerate(zip(PRIMES, sizes, strict=True))], dim=-1)


def gate(left: Heads, right: Heads) -> Float[Tensor, "N 1 I J"]:
    """Share of the first codebook for each pair, where `left` comes first in the order of fields (3)."""
    return torch.sigmoid(scaled_dot(left.gate_query, right.gate_key))


def gated(
    share: Float[Tensor, "N 1 I J"], scores: tuple[Float[Tensor, "N I J H"], Float[Tensor, "N I J H"]]
) -> Float[Tensor, "N H I J"]:
    """A^c of each pair (4), which lets the gate mute a slot where two pairs collided."""
    first, second = (each.movedim(3, 1).to(share.dtype) for each in scores)
    return second + share * (first - second)


def mirror(combo: Float[Tensor, "N H F F"]) -> Float[Tensor, "N H F F"]:
    """The part above the diagonal on both sides, and zeros on it."""
    upper = combo.triu(1)
    return upper + upper.transpose(2, 3)


def attend(heads: Heads, combo: Float[Tensor, "N H F F"], fusion: Fusion) -> Float[Tensor, "N F HD"]:
    """Equations (5) to (8)."""
    dot = scaled_dot(heads.query, heads.key)
    kept = keep(dot, thresholds(fusion.tau))
    score = fuse(combo, dot, fusion.mix).masked_fill(kept == 0, -torch.inf)
    # The self pair is always kept, so the maximum is that of a kept pair.
    weight = torch.exp(score - score.amax(dim=3, keepdim=True)) * kept
    return (weight @ heads.value / weight.sum(dim=3, keepdim=True)).transpose(1, 2).flatten(2)


def thresholds(tau: Float[Tensor, "F F"]) -> Float[Tensor, "F F"]:
    """tau with -1 for the self pairs, which are so kept with full weight whatever their score is."""
    return tau.masked_fill(torch.eye(tau.shape[0], dtype=torch.bool, device=tau.device), -1.0)


def keep(dot: Float[Tensor, "N H I J"], threshold: Float[Tensor, "I J"]) -> Float[Tensor, "N H I J"]:
    """Weight of each pair in [0, 1], 0 where it is dropped (7)."""
    return (torch.sigmoid(dot) - threshold.to(dot.dtype)).clamp(0.0, 1.0)


def fuse(
    combo: Float[Tensor, "N H I J"], dot: Float[Tensor, "N H I J"], mix: Float[Tensor, "3 H"]
) -> Float[Tensor, "N H I J"]:
    """A (6)."""
    from_combo, from_dot, from_both = mix.to(dot.dtype)[:, :, None, None]
    return from_combo * combo + from_dot * dot + from_both * combo * dot


def mix(mode: MixMode, share: Float[Tensor, " H"]) -> Float[Tensor, "3 H"]:
    """The four ways to fuse as rows of (6); `share`, the part of A^c in [0, 1], is read by "gate" only."""
    none, full = torch.zeros_like(share), torch.ones_like(share)
    if mode == "gate":
        return torch.stack([share, 1 - share, none])
    if mode == "half":
        by_combo = (torch.arange(share.shape[0], device=share.device) < share.shape[0] // 2).to(share.dtype)
        return torch.stack([by_combo, 1 - by_combo, none])
    return torch.stack([full, full, none] if mode == "add" else [none, none, full])


def absorb(
    codebook: Float[Tensor, "S d"],
    hidden: tuple[Float[Tensor, "m d"], Float[Tensor, " m"]],
    output: tuple[Float[Tensor, "H m"], Float[Tensor, " H"]],
) -> Float[Tensor, "S H"]:
    """S_k, the score of every row of a trained codebook (9); each layer is (weight, bias)."""
    return torch.nn.functional.linear(torch.relu(torch.nn.functional.linear(codebook, *hidden)), *output)


def field_salt(num_fields: int, seed: int) -> Int[Tensor, "2 4 F"]:
    """Salts in [0, p_k) from the SplitMix64 sequence of `seed`: the same in every version and language."""
    words = iter(_splitmix64(seed, 8 * num_fields))
    return torch.tensor([[[next(words) % p for _ in range(num_fields)] for _ in range(4)] for p in PRIMES])


def _splitmix64(seed: int, count: int) -> list[int]:
    mask = 2**64 - 1
    words = []
    for number in range(1, count + 1):
        word = (seed + number * 0x9E3779B97F4A7C15) & mask
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        words.append(word ^ (word >> 31))
    return words


def scaled_dot(left: Float[Tensor, "N H I D"], right: Float[Tensor, "N H J D"]) -> Float[Tensor, "N H I J"]:
    """Inner products over sqrt(D): (5), and the inside of (3)."""
    return left @ right.transpose(2, 3) * left.shape[3] ** -0.5
