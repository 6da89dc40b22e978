"""Semantic ids of a catalogue that a generator writes: those of a tokenizer's run, or published with the data set.

Legend: N items, M tokens of an item.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from training.data.sequences import SequenceData


class Codebooks(NamedTuple):
    """Shape of semantic ids."""

    codebooks: int
    """M, tokens of an item."""
    words: int
    """D, words of each codebook."""


class SemanticIds(NamedTuple):
    """Of each item; row 0 is the unknown one's."""

    codes: Int64[Tensor, "N+1 M"]
    weights: Float[Tensor, "N+1 M"]
    """How much each token says; 0 where it does not count."""


def semantic_ids(name: str, data: SequenceData) -> SemanticIds:
    """`codes` and `weights` as the run of the tokenizer `name` gave them, or ids of this name of the data set.

    Raises ValueError where there are neither.
    """
    if "codes" in data.given:
        return SemanticIds(data.given["codes"], data.given["weights"])
    others = data.interactions.others
    if name not in others:
        published = f"published with it are {', '.join(others)}" if others else "none are published with it"
        raise ValueError(
            f"{data.interactions.name} has no semantic ids '{name}' ({published}); choose those of a tokenizer, "
            "which `recserve systems` lists among semantic ids"
        )
    codes = torch.from_numpy(others[name])
    return SemanticIds(codes, torch.ones(codes.shape))
