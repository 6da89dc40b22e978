"""From sets of tokens to items: which tokens can still lead to an item, and which items a complete set is (our design).

The paper does not say how a set becomes an item. Here every partial set of every item's tokens lies in a sorted table.
A row of bits says which tokens it allows: for sets that leave one tuple of codes that tuple's own row, else the set's.

Legend: B requests, K paths, M codebooks, D words, N items, U distinct tuples of codes, R partial sets, Q of them that
leave several tuples, G longest list of items that share a tuple.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, UInt8
from torch import Tensor, nn

from training.layers.rows import rows
from training.systems.reg4rec.keys import KeyTable, distinct, multipliers

_MAX_ENTRIES = 1 << 24
_MAX_MASK_BYTES = 1 << 28


class Catalogue(nn.Module):
    """Answers for sets of tokens; integers, gathers and comparisons only, so that it exports."""

    members: Int64[Tensor, " N"]
    """By tuple, then by popularity, descending, then by id."""
    starts: Int64[Tensor, " U+1"]
    """Items of tuple u: `members[starts[u]:starts[u + 1]]`."""

    def __init__(self, codes: np.ndarray, popularity: np.ndarray, words: int, masked: bool) -> None:
        """`codes` int64 [N+1, M], row 0 unused; `popularity` int64 [N+1].

        With `masked` the partial sets are tabled; raises ValueError where they are too many.
        """
        super().__init__()
        factors = multipliers(codes.shape[1], words)
        keys, tuple_of = distinct((codes[1:] + 1) @ factors.T)
        tuples = np.zeros((len(keys), codes.shape[1]), np.int64)
        tuples[tuple_of] = codes[1:]
        counts = np.bincount(tuple_of)
        items = np.arange(1, len(codes))
        self.longest = int(counts.max())
        """G"""
        self.tuples = KeyTable(keys, factors, np.arange(len(keys)))
        self.partial = PartialSets(tuples, factors, words) if masked else None
        members = items[np.lexsort((items, -popularity[1:], tuple_of))]
        self.register_buffer("members", torch.from_numpy(members), persistent=False)
        self.register_buffer("starts", torch.from_numpy(np.append(0, counts.cumsum())), persistent=False)

    def tuple_of(self, codes: Int[Tensor, "B K M"]) -> Int64[Tensor, "B K"]:
        """Number of the tuple that a complete set is, -1 where no item has it."""
        return self.tuples.find(codes)

    def items_of(self, tuples: Int64[Tensor, "B K"]) -> Int64[Tensor, "B K G"]:
        """The items of each tuple, the most popular first (then by id), 0 after the last; zeros for tuple -1."""
        row = tuples.clamp(min=0)
        place = rows(self.starts, row).unsqueeze(-1) + torch.arange(self.longest, device=row.device)
        inside = (place < rows(self.starts, row + 1).unsqueeze(-1)) & (tuples >= 0).unsqueeze(-1)
        return torch.where(inside, rows(self.members, place.clamp(max=self.members.shape[0] - 1)), 0)


def possible_tokens(codes: Int[Tensor, "*n M"], words: int, catalogue: Catalogue | None) -> Bool[Tensor, "*n M D"]:
    """Tokens that can extend a set: of codebooks that it has not used and, with partial sets, leading to an item."""
    unused = (codes < 0).unsqueeze(-1)
    if catalogue is None or catalogue.partial is None:
        return unused.expand(*codes.shape, words)
    return unused & catalogue.partial.allowed(codes)


class PartialSets(nn.Module):
    """Which tokens still lead to an item, for each set of tokens that an item has."""

    masks: UInt8[Tensor, "U+Q+1 bytes"]
    """Bit j % 8 of byte j // 8 is token j = codebook * D + word. Row u is tuple u's, then come those of the sets that
    leave several."""
    bits: Bool[Tensor, "256 8"]

    def __init__(self, tuples: np.ndarray, factors: np.ndarray, words: int) -> None:
        """`tuples` int64 [U, M], distinct."""
        super().__init__()
        self.words = words
        count, codebooks = tuples.shape
        chosen = (np.arange(2**codebooks - 1)[:, None] >> np.arange(codebooks)) & 1  # (S, M), all but the full set
        if count * len(chosen) > _MAX_ENTRIES:
            raise ValueError(
                f"{count} tuples of {codebooks} codes have {count * len(chosen)} partial sets, more than "
                f"{_MAX_ENTRIES}; set validity to 'checked'"
            )
        keys, row = distinct(((tuples + 1) * chosen[:, None] @ factors.T).reshape(-1, len(factors)))
        several = np.bincount(row) > 1
        mask_of = np.where(several, count + several.cumsum() - 1, 0)
        number = np.tile(np.arange(count), len(chosen))
        mask_of[row[~several[row]]] = number[~several[row]]
        self.table = KeyTable(keys, factors, mask_of)
        masks = _masks(tuples, chosen, np.where(several[row], mask_of[row], -1).reshape(len(chosen), count), words)
        bits = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(bool)
        # The last row allows nothing; -1 becomes its number.
        masks = np.concatenate([masks, np.zeros_like(masks[:1])])
        for name, array in (("masks", masks), ("bits", bits)):
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def allowed(self, codes: Int[Tensor, "*n M"]) -> Bool[Tensor, "*n M D"]:
        """Tokens that, added to the set, still leave an item; nothing for a set that no item has.

        Tokens of codebooks that the set has already may count as allowed.
        """
        row = self.table.find(codes)
        mask = rows(self.masks, torch.where(row < 0, self.masks.shape[0] - 1, row))
        # Every byte is eight tokens.
        tokens = rows(self.bits, mask.long()).flatten(-2)[..., : codes.shape[-1] * self.words]
        return tokens.unflatten(-1, (codes.shape[-1], self.words))


def _masks(tuples: np.ndarray, chosen: np.ndarray, mask_row: np.ndarray, words: int) -> np.ndarray:
    """uint8 [U+Q, bytes]; `chosen` [S, M]; `mask_row` [S, U] is -1 where a set leaves a single tuple."""
    count, codebooks = tuples.shape
    rows, width = max(count, int(mask_row.max()) + 1), -(-codebooks * words // 8)
    if rows * width > _MAX_MASK_BYTES:
        raise ValueError(
            f"{rows - count} partial sets leave several of {count} tuples: {rows * width} bytes of masks, more than "
            f"{_MAX_MASK_BYTES}; set validity to 'checked'"
        )
    masks = np.zeros((rows, width), np.uint8)
    for codebook in range(codebooks):
        token = codebook * words + tuples[:, codebook]
        bit = (1 << token % 8).astype(np.uint8)
        subset, number = np.nonzero((mask_row >= 0) & (chosen[:, codebook, None] == 0))
        np.bitwise_or.at(masks, (mask_row[subset, number], token[number] // 8), bit[number])
        masks[np.arange(count), token // 8] |= bit
    return masks
