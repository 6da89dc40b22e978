"""Which items were chosen near one another: in training histories alone, whatever is held out.

Legend: N items, E ordered pairs, B items of a batch.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from training.data.sequences import SequenceData


class Neighbours(NamedTuple):
    """Ordered pairs by their first item; a pair that was met twice stands there twice."""

    starts: Int64[Tensor, " N+1"]
    """Where each item's own begin; the last is E."""
    others: Int64[Tensor, " E"]


def neighbours(data: SequenceData, window: int, allowed: np.ndarray) -> Neighbours:
    """Of the items that are `allowed`, bool [N]: those at most `window` places away in a window of a training part."""
    batch = data.train.batch(np.arange(len(data.train)))
    chosen = torch.cat([batch.items[:, :1], batch.targets], dim=1).numpy()
    gaps = range(1, min(window, chosen.shape[1] - 1) + 1)
    near = [(chosen[:, gap:].ravel(), chosen[:, :-gap].ravel()) for gap in gaps]
    first = np.concatenate([part for later, earlier in near for part in (later, earlier)])
    other = np.concatenate([part for later, earlier in near for part in (earlier, later)])
    kept = allowed[first] & allowed[other] & (first != other) & (first > 0) & (other > 0)
    first, other = first[kept], other[kept]
    order = np.lexsort((other, first))
    starts = np.concatenate([[0], np.bincount(first, minlength=len(allowed)).cumsum()])
    return Neighbours(torch.from_numpy(starts), torch.from_numpy(other[order]))


class Partners(nn.Module):
    """Draws a neighbour of each item, as often as the two were met."""

    starts: Int64[Tensor, " N+1"]
    others: Int64[Tensor, " E"]

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.register_buffer("starts", torch.zeros(num_items + 1, dtype=torch.int64), persistent=False)
        self.register_buffer("others", torch.zeros(0, dtype=torch.int64), persistent=False)

    def prepare(self, found: Neighbours) -> None:
        """Takes the pairs, and a 0 behind them for an item that has none."""
        self.starts = found.starts
        self.others = torch.cat([found.others, found.others.new_zeros(1)])

    def forward(self, items: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """One of each item's, 0 where it has none."""
        first, count = self.starts[items], self.starts[items + 1] - self.starts[items]
        drawn = (torch.rand(len(items), dtype=torch.float64, device=items.device) * count).long()
        return torch.where(count > 0, self.others[first + drawn.clamp(max=(count - 1).clamp(min=0))], 0)

    def pairs(self) -> Int64[Tensor, "2 E"]:
        """All of them."""
        counts = self.starts.diff()
        return torch.stack(
            [torch.arange(len(counts), device=counts.device).repeat_interleave(counts), self.others[:-1]]
        )
