"""Which items were chosen near one another: in training histories alone, whatever is held out.

Legend: N items, E ordered pairs, B items of a batch.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch, ItemSplit
from training.data.sequences import SequenceData

WINDOW = 5
"""Places of a training history within which two items are neighbours."""


def neighbours(data: SequenceData) -> Int64[np.ndarray, "2 E"]:
    """Ordered pairs of items at most `WINDOW` places apart in a window of the training part, by their first item; a
    pair that was met twice stands there twice."""
    batch = data.train.batch(np.arange(len(data.train)))
    chosen = torch.cat([batch.items[:, :1], batch.targets], dim=1).numpy()
    gaps = range(1, min(WINDOW, chosen.shape[1] - 1) + 1)
    near = [np.stack([chosen[:, gap:].ravel(), chosen[:, :-gap].ravel()]) for gap in gaps]
    pairs = np.concatenate([one for pair in near for one in (pair, pair[::-1])], axis=1)
    pairs = pairs[:, (pairs > 0).all(0) & (pairs[0] != pairs[1])]
    return pairs[:, np.lexsort((pairs[1], pairs[0]))]


class BoundSplit(ItemSplit):
    """Items, and the pairs of neighbours whose first item is one of them."""

    def __init__(self, vectors: ItemBatch, items: np.ndarray, pairs: Int64[np.ndarray, "2 E"]) -> None:
        super().__init__(vectors, items)
        self.pairs = pairs[:, np.isin(pairs[0], items)]
        self.catalogue = ItemSplit(vectors, np.arange(len(vectors.item)))


def view(data: CatalogueData) -> CatalogueData:
    """The catalogue; its validation and test parts know the neighbours of their items in training histories."""
    pairs = neighbours(data.sequences)
    parts = {name: BoundSplit(data.vectors, getattr(data, name).item, pairs) for name in ("validation", "test")}
    return replace(data, **parts)


class Partners(nn.Module):
    """Draws a neighbour of each item, as often as the two were met; of items that train alone."""

    starts: Int64[Tensor, " N+1"]
    others: Int64[Tensor, " E"]

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.register_buffer("starts", torch.zeros(num_items + 1, dtype=torch.int64), persistent=False)
        self.register_buffer("others", torch.zeros(0, dtype=torch.int64), persistent=False)

    def prepare(self, data: CatalogueData) -> None:
        """Takes the pairs, and a 0 behind them for an item that has none."""
        first, other = neighbours(data.sequences)
        train = np.isin(first, data.train.item) & np.isin(other, data.train.item)
        counts = np.bincount(first[train], minlength=len(self.starts) - 1)
        self.starts = torch.from_numpy(np.concatenate([[0], counts.cumsum()]))
        self.others = torch.from_numpy(np.append(other[train], 0))

    def forward(self, items: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """One of each item's, 0 where it has none."""
        first, count = self.starts[items], self.starts[items + 1] - self.starts[items]
        drawn = (torch.rand(len(items), dtype=torch.float64, device=items.device) * count).long()
        return torch.where(count > 0, self.others[first + drawn], 0)
