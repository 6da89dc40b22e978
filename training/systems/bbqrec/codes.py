"""Codes of items by source, as the re-weighting compares them: a source's codes run from coarse to fine.

Where a tokenizer's codebooks stand side by side, as those of MMQ, none is finer than another, so each is a source of
one level. The last id of RQ-VAE, which tells collisions apart, says nothing of an item and is left out.

Legend: N items, S sources, P levels of a source.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from training.data.sequences import SequenceData
from training.layers.semantic_ids import semantic_ids
from training.systems.bbqrec.quantiser import SOURCES

Ids = Literal["bbq", "rqvae", "mpq", "mmq", "mmq2", "letter"]


class Shape(NamedTuple):
    """Of the codes of one tokenizer, with its defaults."""

    sources: tuple[str, ...]
    levels: int


def _side_by_side(count: int) -> Shape:
    return Shape(tuple(f"codebook{number}" for number in range(1, count + 1)), 1)


SHAPES: dict[Ids, Shape] = {
    "bbq": Shape(SOURCES, 3),
    "rqvae": Shape(("content",), 3),
    "mpq": _side_by_side(4),
    "mmq": _side_by_side(6),
    "mmq2": _side_by_side(6),
    "letter": Shape(("letter",), 4),
}


def item_codes(ids: Ids, data: SequenceData, *, permuted: bool = False) -> Int32[Tensor, "N+1 S P"]:
    """Of each item, of its tokenizer's run or published with the data set; `permuted` gives each item another's.

    What has no code in a source, and the unknown item, gets one that no other item has. Raises ValueError where there
    are no such codes, and where they are of other shape.
    """
    shape = SHAPES[ids]
    sources, levels = len(shape.sources), shape.levels
    found = data.given.get("sources", semantic_ids(ids, data).codes).flatten(1)[:, : sources * levels]
    if found.shape[1] != sources * levels:
        raise ValueError(f"codes of '{ids}' are {[*found.shape]}; {sources * levels} of each item are wanted")
    codes = found.reshape(-1, sources, levels).clone()
    codes[0] = -1
    if permuted:
        codes[1:] = codes[1:][torch.from_numpy(np.random.default_rng(0).permutation(len(codes) - 1))]
    nobodys = -1 - torch.arange(len(codes))[:, None, None]
    return torch.where(codes < 0, nobodys, codes).int()
