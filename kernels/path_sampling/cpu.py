"""Path sampling and the sketch on a CPU, in numpy: the bits of `reference.py` and `sketch.py`, in less time.

A request has some hundred candidates, so the time is the number of calls, and numpy's calls are the cheaper ones.
Words are uint32 held in uint64, whose products wrap as they should. Legend: as in `reference.py`.
"""

from typing import NamedTuple

import numpy as np

from kernels.path_sampling.philox import KEY_STEPS, MULTIPLIERS, ROUNDS, WORD
from kernels.path_sampling.reference import MAX_WEIGHT, OUT_OF_RANGE, REFUSED, TOO_FEW, Plan
from kernels.path_sampling.sketch import Layout

_HALF = np.uint64(32)
_LOW = np.uint64(WORD)


class Block(NamedTuple):
    """Four arrays uint64 of shapes that broadcast: a Philox counter, or the words drawn at it."""

    w0: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    w3: np.ndarray


def philox(counter: Block, key: tuple[np.ndarray | np.uint64, np.ndarray | np.uint64]) -> Block:
    """Philox4x32-10 at `counter` in the stream `key`, whose two uint32 may be arrays."""
    c0, c1, c2, c3, _, _ = (np.array(word, order="C") for word in np.broadcast_arrays(*counter, *key))
    k0, k1 = key
    factor_a, factor_b = (np.uint64(factor) for factor in MULTIPLIERS)
    step_a, step_b = (np.uint64(step) for step in KEY_STEPS)
    high = np.empty_like(c0)
    for _ in range(ROUNDS):
        c0 *= factor_a
        c2 *= factor_b
        c1 ^= np.right_shift(c2, _HALF, out=high)
        c1 ^= k0
        c3 ^= np.right_shift(c0, _HALF, out=high)
        c3 ^= k1
        c0 &= _LOW
        c2 &= _LOW
        c0, c1, c2, c3 = c1, c2, c3, c0
        k0, k1 = (k0 + step_a) & _LOW, (k1 + step_b) & _LOW
    return Block(c0, c1, c2, c3)


def halves(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The low and the high uint32, uint64 [...], of int64 [...]."""
    bits = np.ascontiguousarray(keys).view(np.uint64)
    return bits & _LOW, bits >> _HALF


def path_words(keys: np.ndarray, plan: Plan) -> Block:
    """The random words of every draw, each uint64 [B, P, K]; keys int64 [B]."""
    low, high = (half[:, None, None] for half in halves(keys))
    path = np.arange(plan.paths, dtype=np.uint64)[None, :, None]
    draw = np.arange(plan.draws, dtype=np.uint64)[None, None, :]
    return philox(Block(low, high, path, draw), (np.uint64(plan.seed), np.uint64(plan.version)))


def draw_paths(weights: np.ndarray, words: Block, anchors: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks int64 [B, P] and flags int32 [B] from weights int32 [B, F] and words uint64 [B, P, K]."""
    rows, fields = weights.shape
    paths, draws = words.w0.shape[1:]
    bits = np.left_shift(np.int64(1), np.arange(fields, dtype=np.int64))
    drawable = np.where(bits & anchors != 0, np.int32(0), weights)
    invalid = ((drawable < 0) | (drawable > MAX_WEIGHT)).any(1)
    positive = drawable > 0
    # One column for each path, so that every step of a draw runs along memory. The last row is for a path that has no
    # weight left: it draws nothing.
    usable = np.zeros((fields + 1, rows * paths), np.int32)
    usable[:-1] = np.where(invalid[:, None], 0, drawable).T.repeat(paths, axis=1)
    masks, refused = _draw(usable, np.append(bits, 0), words)
    masks |= anchors
    keeps_all = refused | invalid[:, None]
    all_positive = anchors | np.where(positive, bits, 0).sum(1, keepdims=True)
    flags = invalid * OUT_OF_RANGE + (positive.sum(1) < draws) * TOO_FEW + refused.any(1) * REFUSED
    return np.where(keeps_all, all_positive, masks), flags.astype(np.int32)


def _draw(usable: np.ndarray, bits: np.ndarray, words: Block) -> tuple[np.ndarray, np.ndarray]:
    """Drawn fields int64 [B, P] as masks, and which paths were refused, bool [B, P]; usable int32 [F + 1, B P]."""
    rows, paths, draws = words.w0.shape
    fields, column = len(usable) - 1, np.arange(rows * paths)
    sums = usable[:-1].cumsum(0, dtype=np.int32)
    total = sums[-1].astype(np.uint64)
    masks = np.zeros(rows * paths, np.int64)
    refused = np.zeros(rows * paths, bool)
    for draw in range(draws):
        value, accepted = _bounded(Block(*(word[:, :, draw].reshape(-1) for word in words)), total)
        behind = sums > value.astype(np.int32)
        drawn = fields - behind.view(np.int8).sum(0, dtype=np.int8).astype(np.int64)
        weight = usable[drawn, column]
        masks |= bits[drawn]
        refused |= ~accepted
        sums -= weight * behind
        total -= weight.astype(np.uint64)
    return masks.reshape(rows, paths), refused.reshape(rows, paths)


def _bounded(words: Block, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An unbiased integer in [0, total) of the first word that passes, and whether one does; all uint64 [n]."""
    refuse_below = np.uint64(WORD + 1) % np.maximum(total, np.uint64(1))
    product = words.w0 * total
    value, accepted = product >> _HALF, (product & _LOW) >= refuse_below
    for word in words[1:]:
        (left,) = np.nonzero(~accepted)
        if not len(left):
            break
        product = word[left] * total[left]
        value[left], accepted[left] = product >> _HALF, (product & _LOW) >= refuse_below[left]
    return value, accepted


def combination_keys(
    ids: tuple[np.ndarray, np.ndarray], fields: tuple[np.ndarray | int, np.ndarray | int]
) -> np.ndarray:
    """Keys int64 of pairs of ids int64 of shapes that broadcast; fields ascending, twice the same for one id."""
    low, high = halves(ids[0]), halves(ids[1])
    words = philox(Block(*low, *high), (np.asarray(fields[0], np.uint64), np.asarray(fields[1], np.uint64)))
    return (words.w0 | words.w1 << _HALF).view(np.int64)


def cells(keys: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices int64 [n, D] of the counters of keys int64 [n], and their signs int32 [n, D]."""
    end = np.asarray(_LOW)
    words = philox(Block(*halves(keys), end, end), (np.uint64(layout.salt), np.uint64(0)))
    row = np.arange(layout.rows, dtype=np.uint64)
    block = (words.w0 * np.uint64(layout.blocks) >> _HALF).astype(np.int64)
    column_bits = np.uint64(layout.width.bit_length() - 1)
    column = (words.w1[:, None] >> row * column_bits & np.uint64(layout.width - 1)).astype(np.int64)
    sign = 1 - 2 * (words.w2[:, None] >> row & np.uint64(1)).astype(np.int32)
    return (block[:, None] * layout.rows + row.astype(np.int64)) * layout.width + column, sign


def sketch_lookup(sketch: np.ndarray, keys: np.ndarray, layout: Layout) -> np.ndarray:
    """Lower bounds int32 [n] of how often keys int64 [n] were counted in `sketch` int32 [N, D, W]."""
    index, sign = cells(keys, layout)
    return np.maximum((sketch.reshape(-1)[index] * sign).min(1), 0)
