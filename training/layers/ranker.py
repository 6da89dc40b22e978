"""What all models that read histories share: embeddings in front, and the final network.

Legend: B batch, L history, N items, D width of item and interest vectors, K hidden units.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.data.columns import profile_layout
from training.layers.columns import Features
from training.layers.items import BehaviourTable, ItemTable, ProfileEmbedding, known
from training.schema import UNKNOWN, Field, Schema, size_of

_TABLE_ROWS = 1 << 18
"""Pairs of item and value up to which all their vectors are computed for each batch, as that is cheaper than one by one
for every event of it."""

_POSITIVE = Field(name="positive", role="event", kind="id", uses=("value",), cardinality=2, values=(UNKNOWN, "1"))


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """What all models that read histories share, so that only the attention differs between them."""

    dim: int = 32
    """Width of item, behaviour and interest vectors."""
    max_length: int = 256
    """Most recent events of a history that are kept."""
    hidden: tuple[int, int] = (64, 32)
    """Units of the final network's two layers."""
    dropout: float = 0.2
    """Share of the final network's units that a training step leaves out."""
    epochs: int = 8
    """Passes over the training part at most; the one that is best on the validation part counts."""
    batch_size: int = 1024
    """Samples of a training step, over all processes."""
    learning_rate: float = 2e-3
    """Rate of AdamW."""
    weight_decay: float = 0.05
    """Decay of AdamW: each step takes this times the learning rate off every weight."""


class Embedded(NamedTuple):
    """Vectors of a batch."""

    history: Float[Tensor, "B L D"]
    mask: Float[Tensor, "B L"]
    target: Float[Tensor, "B D"]
    profile: Float[Tensor, "B D"]


class Tables(nn.Module):
    """The embeddings in front of every model that reads histories."""

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        key = schema.key("item")
        self.num_items = size_of(key)
        layout = profile_layout(schema)
        self.items = ItemTable(key, layout.of("item"), dim)
        self.behaviours = BehaviourTable(value_of(schema), dim)
        self.profile = ProfileEmbedding(layout.of("user", "event"), dim)

    def prepare(self, data: ClickData) -> None:
        """Fill all buffers from the training part."""
        train = data.train
        self.items.prepare(data.train_item_counts, data.item_profile, data.log.item[train.places])
        self.profile.prepare(train.profiles, len(train))
        events = data.interactions.events
        values = events["value"].to_numpy() if "value" in events.columns else np.ones(len(events), np.int64)
        self.behaviours.prepare(values[data.log.row[train.places]])

    def look_up(self, batch: ClickBatch) -> Embedded:
        """History, target and profile vectors of a batch, history rows beyond the length masked."""
        items = self.items()
        positions = torch.arange(batch.history_items.shape[1], device=items.device)
        return Embedded(
            history=self._history(batch, items),
            mask=(positions < batch.history_length[:, None]).to(items.dtype),
            target=nn.functional.embedding(known(batch.item, self.num_items), items),
            profile=self.profile(Features(batch.profile, batch.profile_dense, batch.profile_sets)),
        )

    def _history(self, batch: ClickBatch, items: Float[Tensor, "N D"]) -> Float[Tensor, "B L D"]:
        # What is made of rounded vectors is no table that could be stored.
        if self.num_items * self.behaviours.num_values > _TABLE_ROWS or self.items.stored is not None:
            seen = nn.functional.embedding(known(batch.history_items, self.num_items), items)
            return self.behaviours.of(seen, batch.history_values)
        rows = self.behaviours.index(batch.history_items, batch.history_values, self.num_items)
        return nn.functional.embedding(rows, self.behaviours(items))


def value_of(schema: Schema) -> Field:
    """The value that events of a history have; one whose 1 is a positive where the schema has none."""
    return next(iter(schema.of("value", "event")), _POSITIVE)


class HistoryModel(nn.Module):
    """Base of all models that read histories. `forward` is the logit that is served."""

    def __init__(self, config: RankerConfig, schema: Schema) -> None:
        super().__init__()
        self.tables = Tables(schema, config.dim)

    def prepare(self, data: ClickData) -> None:
        """Fill all tables from the training part."""
        self.tables.prepare(data)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        raise NotImplementedError


class Tower(nn.Module):
    """logit = MLP([O, T, O*T, profile]).

    The first layer is kept as one matrix per part, so that serving can fold W_T into the item table and W_p
    into the user's state (a sum of products is the product of the concatenation).
    """

    def __init__(self, dim: int, hidden: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.of_interest = nn.Linear(dim, hidden[0], bias=False)
        self.of_target = nn.Linear(dim, hidden[0], bias=False)
        self.of_product = nn.Linear(dim, hidden[0], bias=False)
        self.of_profile = nn.Linear(dim, hidden[0])
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], 1)

    def forward(
        self, interest: Float[Tensor, "B D"], target: Float[Tensor, "B D"], profile: Float[Tensor, "B D"]
    ) -> Float[Tensor, " B"]:
        first = self.of_target(target) + self.of_profile(profile)
        return self.finish(interest, target, first)

    def finish(
        self, interest: Float[Tensor, "B D"], target: Float[Tensor, "B D"], first: Float[Tensor, "B K"]
    ) -> Float[Tensor, " B"]:
        """The network, given the first layer's share of target and profile."""
        return self.rest(first + self.of_interest(interest) + self.of_product(interest * target))

    def rest(self, hidden: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """What comes after the first layer's products."""
        hidden = torch.relu(self.second(self.dropout(torch.relu(hidden))))
        return self.last(hidden).squeeze(-1)
