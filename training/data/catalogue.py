"""The view of a data set for semantic ids: its items as samples, with content and what a sequence model makes of each.

Axes: N items, B samples of a batch, G and D widths of the second modality and of the behaviour vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.data.content import with_vectors
from training.data.sequences import SequenceData, sequences
from training.interactions import Interactions
from training.needs import ITEMS, TEXTS, require
from training.schema import Schema
from training.system import Wanted

TASK = "semantic_ids"
NEEDS = (ITEMS, TEXTS)
VALIDATION_SHARE = 0.05


class ItemBatch(NamedTuple):
    """Items and all their vectors."""

    item: Int64[Tensor, " B"]
    text: Float32[Tensor, "B 384"]
    graph: Float32[Tensor, "B G"]
    behaviour: Float32[Tensor, "B D"]
    """Of a trained sequence model, not normalised: its norm tells how much is known of the item."""


class ItemSplit:
    """Some items of the catalogue. Implements `training.system.Split`."""

    def __init__(self, vectors: ItemBatch, items: np.ndarray) -> None:
        """`vectors` hold all N + 1 rows; `items` int64 [len] are those of this part."""
        self._vectors = vectors
        self.item: np.ndarray = items
        """int64 [len]"""

    def __len__(self) -> int:
        return len(self.item)

    def cost(self) -> np.ndarray:
        """int64 [len]: ones."""
        return np.ones(len(self), np.int64)

    def batch(self, rows: np.ndarray) -> ItemBatch:
        """The items with these numbers, in this order."""
        items = torch.from_numpy(self.item[rows])
        return ItemBatch(*(part[items] for part in self._vectors))


@dataclass(frozen=True, kw_only=True, eq=False)
class CatalogueData:
    """Implements `training.system.Data`: 95 % of the items train, 5 % validate, and all of them are the test part, as a
    tokenizer is used on the whole catalogue."""

    schema: Schema
    """Of the data set, and the vectors."""
    interactions: Interactions
    wanted: Wanted
    train: ItemSplit
    validation: ItemSplit
    test: ItemSplit
    vectors: ItemBatch
    """Of all N + 1 ids; row 0 is zeros."""

    @property
    def given(self) -> Mapping[str, Tensor]:
        """What other systems' runs gave."""
        return self.wanted.given

    @cached_property
    def sequences(self) -> SequenceData:
        """Who chose the items, for stages that learn from behaviour. Raises ValueError as `sequences` does."""
        return sequences(self.interactions, self.wanted)


def catalogue(interactions: Interactions, wanted: Wanted) -> CatalogueData:
    """The view; behaviour vectors are `wanted.given["item_vectors"]`, of width 0 where not given.

    Raises ValueError where the items have no content, and where the given vectors are of another catalogue.
    """
    require(interactions, TASK, NEEDS)
    content = interactions.content
    num_rows = len(content.text)
    behaviour = wanted.given.get("item_vectors", torch.zeros(num_rows, 0))
    if len(behaviour) != num_rows:
        raise ValueError(
            f"item_vectors has {len(behaviour)} rows, the catalogue {num_rows}; train the sequence model on this data "
            "set"
        )
    vectors = ItemBatch(
        torch.arange(num_rows), torch.from_numpy(content.text), torch.from_numpy(content.graph), behaviour
    )
    order = 1 + np.random.default_rng(0).permutation(num_rows - 1)
    held_out, rest = np.split(order, [max(1, round(VALIDATION_SHARE * len(order)))])
    return CatalogueData(
        schema=with_vectors(
            interactions.schema, {name: getattr(vectors, name).shape[1] for name in ItemBatch._fields[1:]}
        ),
        interactions=interactions,
        wanted=wanted,
        train=ItemSplit(vectors, np.sort(rest)),
        validation=ItemSplit(vectors, np.sort(held_out)),
        test=ItemSplit(vectors, np.arange(1, num_rows)),
        vectors=vectors,
    )
