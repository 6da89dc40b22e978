"""A blocked count sketch: how often feature combinations occurred, in one memory block per key (our design).

MATT-CTR states that the frequency of a combination is bounded from below, probabilistically; its formulas were not at
hand. A count sketch (Charikar, Chen, Farach-Colton, 2002) gives such a bound in integers. With D counter rows of
width W inside block b(key) of 4 D W = 32 or 64 bytes:

    (1) w                          = Philox4x32-10 at counter (key_lo, key_hi, -1, -1) in stream (salt, 0)
    (2) b                          = floor(w0 blocks / 2^32),  column_r and sign_r from the bits of w1 and w2
    (3) counter[b, r, column_r]   += sign_r(key) count         for each r < D, when the log is counted
    (4) lower(key)                 = max(0, min_r sign_r(key) counter[b, r, column_r])

What other keys add to a row is symmetric around zero, since their signs are random, and independent of other rows:
a row exceeds the true count with probability at most 1/2, all D of them, and so (4), with at most 2^-D.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from kernels.path_sampling.philox import WORD, Words, philox, split

BLOCK_SIZES = (32, 64)
"""Bytes of a block: one or two sectors of GPU memory."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The shape of a sketch."""

    blocks: int
    rows: int = 4
    """D: the bound fails with probability at most 2**-D."""
    width: int = 2
    """W, a power of two: the more columns, the fewer keys share a counter."""
    salt: int = 0
    """uint32; another salt places keys elsewhere."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.width & (self.width - 1):
            raise ValueError(f"width must be a power of two, found {self.width}")
        if self.block_bytes not in BLOCK_SIZES:
            raise ValueError(
                f"a block must have {BLOCK_SIZES} bytes, found 4 * {self.rows} rows * {self.width} columns"
            )
        if not 1 <= self.blocks < 1 << 31 or not 0 <= self.salt <= WORD:
            raise ValueError(f"blocks must be in [1, 2**31) and salt in [0, 2**32), found {self.blocks}, {self.salt}")

    @property
    def block_bytes(self) -> int:
        return 4 * self.rows * self.width

    def empty(self) -> Int32[Tensor, "N D W"]:
        """A sketch that counted nothing."""
        return torch.zeros(self.blocks, self.rows, self.width, dtype=torch.int32)


def combination_keys(ids: Int64[Tensor, "... O"], fields: tuple[int, ...]) -> Int64[Tensor, "..."]:
    """The key of the combination of O = 1 or 2 ids of the given fields; the order of the two does not matter."""
    if len(fields) not in (1, 2) or ids.shape[-1] != len(fields):
        raise ValueError(f"a combination has one or two ids and as many fields, found {ids.shape[-1]} and {fields}")
    order = sorted(range(len(fields)), key=fields.__getitem__)
    first, last = order[0], order[-1]
    counter = Words(*split(ids[..., first]), *split(ids[..., last]))
    words = philox(counter, (fields[first], fields[last]))
    return words.w0 | (words.w1 << 32)


def cells(keys: Int64[Tensor, "..."], layout: Layout) -> tuple[Int64[Tensor, "... D"], Int64[Tensor, "... D"]]:
    """Flat indices of a key's counters, and its signs (1 or -1), eq. (1) and (2)."""
    end = torch.full((), WORD, dtype=torch.int64, device=keys.device)
    words = philox(Words(*split(keys), end, end), (layout.salt, 0))
    row = torch.arange(layout.rows, device=keys.device)
    block = (words.w0 * layout.blocks) >> 32
    column = (words.w1[..., None] >> row * (layout.width.bit_length() - 1)) & (layout.width - 1)
    sign = 1 - 2 * (words.w2[..., None] >> row & 1)
    return (block[..., None] * layout.rows + row) * layout.width + column, sign


def count(
    sketch: Int32[Tensor, "N D W"], keys: Int64[Tensor, " n"], counts: Int32[Tensor, " n"], layout: Layout
) -> None:
    """Adds occurrences to `sketch` in place, eq. (3). Sketches of one layout add up to the sketch of both logs.

    A counter wraps where the counts that meet in it pass 2**31.
    """
    index, sign = cells(keys, layout)
    sketch.view(-1).index_add_(0, index.flatten(), (sign * counts[:, None]).flatten().to(torch.int32))


def sketch_lookup_reference(
    sketch: Int32[Tensor, "N D W"], keys: Int64[Tensor, "..."], layout: Layout
) -> Int32[Tensor, "..."]:
    """Lower bounds of how often each key was counted, eq. (4)."""
    index, sign = cells(keys, layout)
    return (sketch.view(-1)[index] * sign).amin(-1).clamp(min=0).to(torch.int32)
