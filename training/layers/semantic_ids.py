"""Whose semantic ids a generator writes, and their shape. LETTER's are published with Amazon Beauty; the others come
from a tokenizer's run."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor

from training.data.amazon_sequences import letter_products
from training.data.sequences import Dataset

Ids = Literal["mpq", "mmq", "mmq2", "rqvae", "letter"]


class Codebooks(NamedTuple):
    """Shape of semantic ids."""

    codebooks: int
    """M, tokens of an item."""
    words: int
    """D, words of each codebook."""


CODEBOOKS: dict[Ids, Codebooks] = {
    "mpq": Codebooks(4, 512),
    "mmq": Codebooks(6, 100),
    "mmq2": Codebooks(6, 100),
    "rqvae": Codebooks(4, 256),
    "letter": Codebooks(4, 256),
}
"""Of each tokenizer with its defaults."""


def check_ids(ids: Ids, dataset: Dataset) -> None:
    """Raises ValueError for ids that the data set does not have."""
    if ids == "letter" and dataset != "beauty":
        raise ValueError(f"ids is letter, which is published for beauty only, not for {dataset}; take another")


def semantic_ids(ids: Ids, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`codes` and `weights` as a tokenizer's run gave them, or LETTER's. Raises ValueError where neither is there."""
    if "codes" in given:
        return given
    if ids != "letter":
        raise ValueError(f"no semantic ids are given; train the tokenizer '{ids}' on this data set first")
    return letter_products()
