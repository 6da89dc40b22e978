"""Attention and the learnt table of a run of BBQRec, by how much two items share.

Legend: B histories, L history, H heads, Q = L places that look.
"""

from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from training.data.sequences import SequenceData
from training.systems.bbqrec import BBQRec
from training.systems.bbqrec.codes import SHAPES

_BLOCK = 256
"""Histories that are looked at together."""


class Point(NamedTuple):
    """Of the pairs of a place and an earlier one that are in one bucket of one source, in one head."""

    codes: str
    block: int
    head: int
    source: str
    bucket: int
    pairs: int
    bent: float | None
    """Mean attention, 1 where all that a place sees weighs the same; None without pairs."""
    plain: float | None
    """The same without what the block's table adds."""
    added: float
    """What the table adds, beside what it adds to pairs that are not alike."""


@torch.no_grad()
def points(name: str, module: BBQRec, data: SequenceData) -> list[Point]:
    """Over the histories of the validation part."""
    sources, buckets = SHAPES[module.ids].sources, module.similarity.num_buckets
    sums, count = None, torch.zeros(len(sources), buckets, dtype=torch.float64)
    rows = torch.arange(len(data.validation)).split(_BLOCK)
    for part in rows:
        items = data.validation.batch(part.numpy()).items
        chosen = _chosen(module, items)
        count += chosen.double().sum((2, 3, 4))
        found = [_sums(chosen, weights) for block in module.attention(items) for weights in block]
        sums = torch.stack(found) if sums is None else sums + torch.stack(found)
    assert sums is not None
    means = (sums / count[..., None]).unflatten(0, (-1, 2))  # (blocks, 2, S, K, H)
    table = (module.table - module.table[:, :, :1]).double()
    made = []
    for block, head, place, bucket in product(*map(range, (len(means), means.shape[-1], len(sources), buckets))):
        bent, plain = means[block, :, place, bucket, head].tolist() if count[place, bucket] else (None, None)
        pairs, added = int(count[place, bucket]), float(table[block, place, bucket, head])
        made.append(Point(name, block, head, sources[place], bucket, pairs, bent, plain, added))
    return made


def _chosen(module: BBQRec, items: Int64[Tensor, "B L"]) -> Bool[Tensor, "S K B Q L"]:
    """Which pairs of a place and an earlier one are in which bucket of which source."""
    inside = items > 0
    pairs = torch.tril(inside[:, :, None] & inside[:, None, :], diagonal=-1)
    numbers = torch.arange(module.similarity.num_buckets)[:, None, None, None]
    return torch.stack([(one == numbers) & pairs for one in module.similarity(items, items)])


def _sums(chosen: Bool[Tensor, "S K B Q L"], weights: Float[Tensor, "B H Q L"]) -> Float[Tensor, "S K H"]:
    """Of the attention, as many times as places are seen."""
    seen = torch.arange(1, weights.shape[-1] + 1)[:, None]
    return torch.einsum("skbql,bhql->skh", chosen.double(), (weights * seen).double())
