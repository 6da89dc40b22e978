"""What is known of items beside who chose them, as vectors of one width: a vector of each field, and of each content.

Fields are those of `training.data.sequences.item_layout`, content the frozen vectors that a view adds to the schema
(kind "vector"), each through a layer of its own. Our design.

Legend: N items with the unknown one, B items, S sides of an item, d width, W width of a frozen vector.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.columns import Columns
from training.data.sequences import SequenceData, item_layout
from training.layers.columns import Features
from training.layers.items import IdEmbedding, ProfileEmbedding
from training.schema import Schema, size_of, width_of

_SPREAD = 0.1
"""Of the elements of all vectors at first."""


class ItemSides(nn.Module):
    """Vectors of all items, one for each side."""

    ids: Int64[Tensor, "N F"]
    dense: Float[Tensor, "N Fd"]
    sets: Int64[Tensor, "N Fs"]

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        num_items, layout = size_of(schema.key("item")), item_layout(schema)
        content = [field for field in schema.fields if field.role == "item" and field.kind == "vector"]
        self.content = tuple(field.name for field in content)
        self.names = (*(field.name for field in layout.fields), *self.content)
        """Of the sides, in order."""
        self.dim = dim
        self.fields = ProfileEmbedding(layout, dim) if layout.fields else None
        self.layers = nn.ModuleList(nn.Linear(width_of(field), dim) for field in content)
        for layer in self.layers:
            # A frozen vector has norm 1.
            nn.init.normal_(layer.get_parameter("weight"), std=_SPREAD)
        for field in content:
            self.register_buffer(f"of_{field.name}", torch.zeros(num_items, width_of(field)))
        self.register_buffer("ids", torch.zeros(num_items, len(layout.fields), dtype=torch.int64))
        self.register_buffer("dense", torch.zeros(num_items, len(layout.dense)))
        self.register_buffer("sets", torch.zeros(num_items, layout.set_width, dtype=torch.int64))

    def prepare(self, data: SequenceData) -> None:
        """Takes what the items are; means are over the items of the training events. Raises ValueError where content
        is of other items."""
        values: Columns = data.item_fields
        for name, array in values._asdict().items():
            self.get_buffer(name).copy_(torch.from_numpy(array))
        for name in self.content:
            found = torch.from_numpy(getattr(data.content, name))
            if found.shape != self.get_buffer(f"of_{name}").shape:
                expected = [*self.get_buffer(f"of_{name}").shape]
                raise ValueError(f"content: {name} is {[*found.shape]}; it must be {expected}")
            self.get_buffer(f"of_{name}").copy_(found)
        if self.fields is not None:
            trained = np.repeat(np.arange(len(data.train_item_counts)), data.train_item_counts)
            self.fields.prepare(lambda numbers: values.rows(trained[numbers]), len(trained))

    def forward(self) -> Float[Tensor, "N S d"]:
        """Of all items."""
        return self.of(
            Features(self.ids, self.dense, self.sets), [self.get_buffer(f"of_{name}") for name in self.content]
        )

    def of(self, fields: Features, content: list[Float[Tensor, "B W"]]) -> Float[Tensor, "B S d"]:
        """Of items by their fields and content, in the order of `names`; they may be none of the catalogue."""
        parts = [] if self.fields is None else [self.fields.each(fields)]
        parts += [layer(vectors)[:, None] for layer, vectors in zip(self.layers, content, strict=True)]
        return torch.cat(parts, dim=1) if parts else self.dense.new_zeros(fields.ids.shape[0], 0, self.dim)


def prepare_rows(rows: IdEmbedding, data: SequenceData) -> None:
    """Items that never train have the row of the unknown, which trains by `with_unknown`."""
    counts = data.train_item_counts.copy()
    counts[0] = 1
    rows.prepare(counts)


def with_unknown(rows: IdEmbedding, rate: float) -> Float[Tensor, "N d"]:
    """Vectors of all items by their ids, each one the unknown's with this probability: so a model learns what to make
    of items by their sides alone. Our design, as Volkovs et al., "DropoutNet", NeurIPS 2017, has it of whole users."""
    unknown = torch.rand(rows.num_embeddings, 1, device=rows.weight.device) < rate
    return torch.where(unknown, rows.weight[0], rows.table())
