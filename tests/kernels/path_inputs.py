"""Inputs of path sampling, with rows of every kind, for the tests of all lanes."""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels.path_sampling import PathMasks, Plan
from kernels.path_sampling.reference import MAX_WEIGHT


class Rows(NamedTuple):
    """Weights and keys."""

    weights: Tensor
    keys: Tensor


def draw_rows(rows: int, fields: int) -> Rows:
    """Row 1 has many fields without weight, row 2 weights so small that a drawn value often meets a sum, row 3 a
    negative weight, row 4 a too large one, row 5 none at all."""
    random = torch.Generator().manual_seed(rows * 100 + fields)
    weights = torch.randint(1, MAX_WEIGHT + 1, (rows, fields), generator=random, dtype=torch.int32)
    odd = fields - 1
    if rows > 1:
        weights[1] *= torch.rand(fields, generator=random) < 0.3
    if rows > 2:
        weights[2] = weights[2] % 2 + 1
    if rows > 5:
        weights[3, odd], weights[4, odd], weights[5] = -5, MAX_WEIGHT + 1, 0
    return Rows(weights, torch.randint(-(1 << 63), (1 << 63) - 1, (rows,), generator=random))


def equal(one: PathMasks, other: PathMasks) -> bool:
    """Bit by bit."""
    return torch.equal(one.masks, other.masks) and torch.equal(one.flags, other.flags)


def refuse_a_draw(words: Tensor, row: int, path: int) -> Tensor:
    """The words of a path's first draw become four zeros, which no total accepts that is no power of two."""
    words = words.clone()
    words[row, path, 0] = 0
    return words


SHAPES = [
    (1, 1, Plan(paths=1, draws=1)),
    (2, 1, Plan(paths=3, draws=0, anchors=1)),
    (7, 63, Plan(paths=8, draws=4, anchors=0b101, seed=(1 << 32) - 1, version=3)),
    (6, 64, Plan(paths=9, draws=5, anchors=-(1 << 63), seed=7, version=(1 << 32) - 1)),
    (3, 64, Plan(paths=2, draws=0, anchors=-1)),
    (9, 8, Plan(paths=2, draws=7, anchors=0b1)),
    (5, 33, Plan(paths=17, draws=3)),
    (0, 5, Plan(paths=2, draws=2)),
]
"""Rows, fields, plan."""

SHAPE_NAMES = [f"{rows}x{fields}, {plan.paths} paths of {plan.draws}" for rows, fields, plan in SHAPES]
