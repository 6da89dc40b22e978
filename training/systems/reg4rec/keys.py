"""Sets of tokens as integers, and a table of them that a graph can search (our design).

A set's key is the sum over its codebooks r of (code_r + 1) (D + 1)^r: a codebook without a token adds nothing, so that
a partial set has a key as well, and the order in which tokens were chosen does not matter. Where that would not fit an
int64 the codebooks are shared out over several words, compared one after the other.

Legend: M codebooks, D words of a codebook, W words of a key, R keys, S slots.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add, and_

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn

_LARGEST = 1 << 62
_PRIME = (1 << 31) - 1
_ROUNDS = 500


def multipliers(codebooks: int, words: int) -> np.ndarray:
    """int64 [W, M]: what each codebook's code + 1 is multiplied with in each word of the key."""
    rows, power = [[0] * codebooks], 1
    for codebook in range(codebooks):
        if power * (words + 1) > _LARGEST:
            rows.append([0] * codebooks)
            power = 1
        rows[-1][codebook] = power
        power *= words + 1
    return np.array(rows, np.int64)


def distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [n, W] -> the distinct keys ascending [R, W], and the place among them of each one given [n]."""
    order = np.lexsort(keys.T[::-1])
    ascending = keys[order]
    new = np.append(True, (ascending[1:] != ascending[:-1]).any(1))
    place = np.empty(len(keys), np.int64)
    place[order] = new.cumsum() - 1
    return ascending[new], place


class KeyTable(nn.Module):
    """Distinct keys, each in one of two slots that its hashes name (cuckoo hashing, Pagh and Rodler, 2004).

    Two probes find any key, where a binary search would take one for each doubling of their number.
    """

    factors: Int64[Tensor, "W M"]
    slots: Int64[Tensor, "W S"]
    """The key in each slot, -1 in an empty one."""
    values: Int64[Tensor, " S"]
    """What that key stands for, -1 in an empty slot."""
    mixers: Int64[Tensor, "2 W 2"]

    def __init__(self, keys: np.ndarray, factors: np.ndarray, values: np.ndarray) -> None:
        """`keys` int64 [R, W] as of `distinct`, and what `find` answers for each; `factors` as of `multipliers`."""
        super().__init__()
        mixers, rows = _placed(keys)
        slots, found = np.where(rows >= 0, keys[rows].T, -1), np.where(rows >= 0, values[rows], -1)
        for name, array in (("factors", factors), ("slots", slots), ("values", found), ("mixers", mixers)):
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def find(self, codes: Int[Tensor, "*n M"]) -> Int64[Tensor, "*n"]:
        """The value of each set (-1: no token of that codebook); -1 for one that is not in the table."""
        keys = [((codes.long() + 1) * factors).sum(-1).flatten() for factors in self.factors]
        found = None
        for mixer in self.mixers:
            slot = _hashed(keys, mixer, self.values.shape[0])
            same = reduce(and_, (held.index_select(0, slot) == key for held, key in zip(self.slots, keys, strict=True)))
            found = torch.where(same, self.values.index_select(0, slot), -1 if found is None else found)
        assert found is not None
        return found.reshape(codes.shape[:-1])


def _hashed(keys: Sequence[Int64[Tensor, " n"]], mixer: Int64[Tensor, "W 2"], size: int) -> Int64[Tensor, " n"]:
    """Slot of each key: its low and high parts modulo a prime, times 31-bit numbers, summed; nothing overflows."""
    parts = (
        (key % _PRIME * low) % _PRIME + (torch.div(key, _PRIME, rounding_mode="trunc") * high) % _PRIME
        for key, (low, high) in zip(keys, mixer, strict=True)
    )
    return reduce(add, parts) % size


def _placed(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mixers [2, W, 2], and the key in each slot or -1: all keys are placed at once, those put out go to their other
    slot, until nobody is; where that does not end, other mixers are drawn."""
    random, size = np.random.default_rng(0), 3 * len(keys) + 1
    while True:
        mixers = random.integers(1, _PRIME, (2, keys.shape[1], 2))
        tensors = torch.from_numpy(keys), torch.from_numpy(mixers)
        slot_of = np.stack([_hashed(tensors[0].unbind(1), mixer, size).numpy() for mixer in tensors[1]])
        side, pending = np.zeros(len(keys), np.int64), np.arange(len(keys))
        rows = np.full(size, -1)
        for _ in range(_ROUNDS):
            slots = slot_of[side[pending], pending]
            out = rows[slots]
            rows[slots] = pending
            lost = pending[rows[slots] != pending]
            pending = np.unique(np.append(out[out >= 0], lost))
            pending = pending[rows[slot_of[side[pending], pending]] != pending]
            if not len(pending):
                return mixers, rows
            side[pending] ^= 1
