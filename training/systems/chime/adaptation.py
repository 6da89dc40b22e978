"""IAM: what is known of items and of what users did with them, as input vectors of one width.

Text and graph vectors come from frozen encoders (`ItemContent`); GLU projectors bring them to the width of the others.
A linear layer of a concatenation is a sum, so the parts of an event are added: W [item; action; gap] = W_i item +
action + gap.

Legend: B batch, L places of a history, newest first, N items with the unknown one, D width of the item table, E width
of a projection, d width of input vectors.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickData
from training.data.columns import profile_layout
from training.layers.ages import AgeEmbedding
from training.layers.item_content import MODALITIES, ItemContent
from training.layers.items import IdEmbedding, ItemTable, known
from training.layers.ranker import value_of
from training.schema import Schema, size_of
from training.systems.chime.representation import Norm
from training.warm_start import Axis


class Behaviours(NamedTuple):
    """A history, newest first, as `training.data.click.ClickBatch` has it."""

    items: Int[Tensor, "B L"]
    values: Int[Tensor, "B L"]
    ages: Int[Tensor, "B L"]

    def wide(self, least: int) -> "Behaviours":
        """With at least so many places."""
        lacking = max(0, least - self.items.shape[1])
        return Behaviours(*(nn.functional.pad(part, (0, lacking)) for part in self))


class Projector(nn.Module):
    """GLU(x) = W_a x * sigmoid(W_b x + b_b); 0 for an item that lacks the modality."""

    def __init__(self, width: int, projected: int) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(width, projected, bias=False), nn.Linear(width, projected)

    def forward(self, x: Float[Tensor, "N G"]) -> Float[Tensor, "N E"]:
        return self.value(x) * torch.sigmoid(self.gate(x))


class Adaptation(nn.Module):
    """Input vectors of events, and of items as what is asked for."""

    def __init__(self, schema: Schema, dim: int, projected: int, width: int, interest: int) -> None:
        super().__init__()
        key, value = schema.key("item"), value_of(schema)
        self.num_items = size_of(key)
        self.items = ItemTable(key, profile_layout(schema).of("item"), dim)
        self.content = ItemContent(self.num_items)
        self.projectors = nn.ModuleDict({name: Projector(one, projected) for name, one in MODALITIES.items()})
        self.action = IdEmbedding(Axis((value,)), width)
        self.gap, self.first = AgeEmbedding(width), nn.Parameter(torch.zeros(width))
        widths = dim, *(projected for _ in MODALITIES)
        self.norms = nn.ModuleList(map(Norm, widths))
        parts = sum(widths)
        self.as_input = nn.Linear(parts, width, bias=False)
        self.as_target = nn.Sequential(nn.Linear(parts, width), nn.SiLU(), nn.Linear(width, interest))
        nn.init.normal_(self.action.weight, std=0.3)

    def prepare(self, data: ClickData) -> None:
        """Takes the frozen vectors of all items, and which items and values the training part has."""
        train = data.train
        self.content.prepare(data.interactions.content)
        self.items.prepare(data.train_item_counts, data.item_profile, data.log.item[train.places])
        events = data.interactions.events
        values = events["value"].to_numpy() if "value" in events.columns else np.ones(len(events), np.int64)
        self.action.prepare(np.bincount(values[data.log.row[train.places]], minlength=len(self.action.row_of)))

    def parts(self) -> Float[Tensor, "N D+2E"]:
        """[id and fields; GLU of text; GLU of graph] of all items, each part of the same size."""
        projected = [glu(self.content.get_buffer(name)) for name, glu in self.projectors.items()]
        parts = zip((self.items(), *projected), self.norms, strict=True)
        return torch.cat([norm(part) for part, norm in parts], 1)

    def events(
        self,
        items: Float[Tensor, "N d"],
        history: Behaviours,
        length: Int[Tensor, " B"],
    ) -> Float[Tensor, "B L d"]:
        """Input vectors of behaviours, given those of all items (`as_input` of `parts`)."""
        met, values, ages = history
        since = torch.cat((ages[:, 1:], ages[:, -1:]), 1) - ages
        is_first = torch.arange(ages.shape[1], device=ages.device) >= length[:, None] - 1
        gap = self.gap(torch.where(is_first | (since < 0), 0, since))
        gap = torch.where(is_first[:, :, None], self.first, gap)
        return nn.functional.embedding(known(met, self.num_items), items) + self.action(values) + gap

    def targets(self, parts: Float[Tensor, "N D+2E"]) -> Float[Tensor, "N I"]:
        """Of items what interests are compared with, of norm 1."""
        return nn.functional.normalize(self.as_target(parts), dim=-1)
