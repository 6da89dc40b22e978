"""What items are beside who chose them, as frozen vectors inside a model: text and graph.

Legend: N items with the unknown one, B batch, W = 384 + 128 the widths side by side.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from training.data.content import GRAPH_WIDTH
from training.data.sentence_vectors import WIDTH as TEXT_WIDTH
from training.interactions import Content
from training.layers.items import known

MODALITIES = {"text": TEXT_WIDTH, "graph": GRAPH_WIDTH}
"""Widths of the vectors, by what they are."""


class Described(NamedTuple):
    """Of some items in one modality."""

    vectors: Float[Tensor, "*B W"]
    """Norm 1, or zeros where there is none."""
    given: Bool[Tensor, " *B"]
    """Whether there is one."""


class ItemContent(nn.Module):
    """The vectors of all items, which nothing trains. An id outside the table is the unknown item, which has none."""

    text: Float[Tensor, "N 384"]
    graph: Float[Tensor, "N 128"]

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items
        for name, width in MODALITIES.items():
            self.register_buffer(name, torch.zeros(num_items, width))

    def prepare(self, content: Content) -> None:
        """Fill both tables with vectors of norm 1. Raises ValueError where they are of other items."""
        for name, width in MODALITIES.items():
            found = torch.from_numpy(getattr(content, name))
            if found.shape != (self.num_items, width):
                raise ValueError(f"content: {name} is {[*found.shape]}; it must be {[self.num_items, width]}")
            self.get_buffer(name).copy_(nn.functional.normalize(found, dim=1))

    def of(self, modality: str, items: Int64[Tensor, " *B"]) -> Described:
        """Vectors in a modality of `MODALITIES`."""
        found = nn.functional.embedding(known(items, self.num_items), self.get_buffer(modality))
        return Described(found, is_given(found))


def is_given(vectors: Shaped[Tensor, "*B W"]) -> Bool[Tensor, " *B"]:
    """Whether a vector is one, and not zeros for want of it."""
    return (vectors != 0).any(dim=-1)
