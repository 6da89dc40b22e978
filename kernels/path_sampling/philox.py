"""Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in int64 tensor arithmetic.

Every word is a uint32 held in an int64. No product leaves int64, so the bits are the same on every platform, and the
same as those of `tl.philox` in the kernel.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

WORD = 0xFFFFFFFF
"""Mask of one uint32."""

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_TWO_32 = 1 << 32


class Words(NamedTuple):
    """Four uint32 in int64 tensors of shapes that broadcast: a Philox counter, or the block drawn at it."""

    w0: Int64[Tensor, "..."]
    w1: Int64[Tensor, "..."]
    w2: Int64[Tensor, "..."]
    w3: Int64[Tensor, "..."]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """The block of random words at `counter` in the stream `key` (two uint32)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high_a, low_a = _multiply(c0, MULTIPLIERS[0])
        high_b, low_b = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high_b ^ c1 ^ k0, low_b, high_a ^ c3 ^ k1, low_a
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return Words(*torch.broadcast_tensors(c0, c1, c2, c3))


def split(keys: Int64[Tensor, "..."]) -> tuple[Int64[Tensor, "..."], Int64[Tensor, "..."]]:
    """The low and the high uint32 of two's complement int64."""
    return keys & WORD, (keys >> 32) & WORD


def _multiply(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """High and low uint32 of word * multiplier."""
    # The full product needs 64 unsigned bits. With the multiplier less 2**32, a negative number above -2**30, it
    # stays in int64: the low word is the same, and the high word lacks exactly one `word`.
    product = word * (multiplier - _TWO_32)
    return (product >> 32) + word, product & WORD
