"""Codes of items by source, as the re-weighting compares them: a source's codes run from coarse to fine.

Where a tokenizer's codebooks stand side by side, as those of MMQ, none is finer than another, so each is a source of
one level. The last id of RQ-VAE, which tells collisions apart, says nothing of an item and is left out.

Legend: N items, S sources, P levels of a source, d width.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32, Shaped
from torch import Tensor

from training.data.sequences import SequenceData
from training.layers.semantic_ids import semantic_ids
from training.systems.bbqrec.quantiser import SOURCES
from training.systems.bbqrec.similarity import in_steps

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


def item_codes(ids: Ids, data: SequenceData) -> Int32[Tensor, "N+1 S P"]:
    """Of each item, of its tokenizer's run or published with the data set; -1 for what has none, and in row 0.

    Raises ValueError where there are no such codes, and where they are of other shape.
    """
    shape = SHAPES[ids]
    sources, levels = len(shape.sources), shape.levels
    of_run = data.given.get("sources")
    found = (semantic_ids(ids, data).codes if of_run is None else of_run).flatten(1)[:, : sources * levels]
    if found.shape[1] != sources * levels:
        raise ValueError(f"codes of '{ids}' are {[*found.shape]}; {sources * levels} of each item are wanted")
    codes = found.reshape(-1, sources, levels).int()
    codes[0] = -1
    return codes


def item_vectors(data: SequenceData) -> Float[Tensor, "N+1 S d"]:
    """The words that stand for each item in each source of BBQ's run, in whole numbers. ValueError without that run."""
    if "quantised" not in data.given:
        raise ValueError(f"{data.interactions.name} has no quantised vectors; train the tokenizer 'bbq' on it first")
    return in_steps(data.given["quantised"])


def exchanged(table: Shaped[Tensor, "N+1 S w"]) -> Shaped[Tensor, "N+1 S w"]:
    """Each item has another's row, the same in every run."""
    order = np.random.default_rng(0).permutation(len(table) - 1)
    return torch.cat([table[:1], table[1:][torch.from_numpy(order)]])
