"""The likeliest values of each field of a row by a generator, given all other fields and no label.

Legend: B rows, F fields, D width, K values of each.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.click import ClickBatch
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator
from training.layers.field_likelihood import IMPOSSIBLE, of_field, values
from training.servable import Packed

MOST = 3
"""Values of a field that are listed."""
_EVERY = 1e-9
"""By which a value comes behind an equal one of a lower number."""


class Likeliest(nn.Module):
    """Of each field of kind id, masked alone: the likeliest values, how likely they are, and how likely the row's own
    value is. Of other fields, and where a field has fewer values, value 0 of probability 0."""

    def __init__(self, module: FieldGenerator) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: ClickBatch) -> Packed:
        module, x = self.module, Features(batch.ids, batch.dense, batch.sets)
        fields, own = module.embedding(x), module.embedding.known(x.ids)
        directions = self._directions(fields)
        nothing = torch.zeros(x.ids.shape[0], MOST, dtype=fields.dtype, device=fields.device)
        found = []
        for place, field in enumerate(module.embedding.fields):
            if field.kind == "id":
                found.append(self._likeliest(place, directions[:, place, place], own[:, place]))
            else:
                found.append((nothing.long(), nothing, nothing[:, 0]))
        return tuple(torch.stack(one, dim=1) for one in zip(*found, strict=True))

    def _directions(self, fields: Float[Tensor, "B F D"]) -> Float[Tensor, "B F F D"]:
        """Of each row, as often as it has fields, with one of them masked each time."""
        rows, num_fields, width = fields.shape
        places = torch.arange(num_fields, device=fields.device)
        alone = places[:, None] == places
        masked = self.module.masked(fields[:, None], alone)  # (B, F, F, D)
        generator = self.module.generator
        return generator.directions(generator.states(masked.flatten(0, 1))).view(rows, num_fields, num_fields, width)

    def _likeliest(self, place: int, direction: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedding = self.module.embedding
        logits = direction @ values(embedding, place).T / self.module.generator.temperature
        possible = of_field(embedding, place) > 0
        share = torch.softmax(torch.where(possible, logits, IMPOSSIBLE), dim=1)
        order = share - _EVERY * torch.arange(share.shape[1], device=share.device)
        top = torch.topk(order, min(MOST, share.shape[1]), dim=1).indices
        top = nn.functional.pad(top, (0, MOST - top.shape[1]))
        best = torch.gather(share, 1, top) * (top > 0)
        return top, best, torch.gather(share, 1, own[:, None])[:, 0]
