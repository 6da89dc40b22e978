"""What a request for a list may narrow it by: ids that are left out, and values that fields of the items must have.

Our design. Every filter can be left out by a client: its neutral value lists everything.

Legend: B requests, E ids packed over them, N items, S history, V places for the values of a field.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.data.columns import Layout, columns
from training.interactions import Interactions
from training.layers import ragged
from training.layers.items import known
from training.schema import Field, size_of
from training.servable import TensorSpec

EXCLUDED, EXCLUDED_OFFSETS = "excluded", "excluded_offsets"
ONLY = "only_"
"""What the names of the inputs begin with that say which value a field must have."""
ANY = -1
"""Of such an input: items of any value."""
MAX_EXCLUDED = 1_000


def filter_fields(interactions: Interactions) -> tuple[Field, ...]:
    """The items' fields that have ids as values, one or several; not the key."""
    fields = interactions.schema.fields
    return tuple(one for one in fields if one.role == "item" and one.kind in ("id", "multi") and "key" not in one.uses)


def filter_specs(interactions: Interactions) -> tuple[TensorSpec, ...]:
    """`excluded`, its offsets, and `only_<field>`, an id of that field, for each of `filter_fields`."""
    ids = interactions.ids.get("item")
    excluded = TensorSpec(
        name=EXCLUDED,
        dtype="int64",
        shape=(EXCLUDED,),
        ragged=True,
        max_elements=MAX_EXCLUDED,
        ids=ids,
        minimum=None if ids else 0,
        neutral="",
    )
    offsets = TensorSpec(name=EXCLUDED_OFFSETS, dtype="int32", shape=(), of=EXCLUDED)
    return excluded, offsets, *(_only(field) for field in filter_fields(interactions))


def _only(field: Field) -> TensorSpec:
    return TensorSpec(
        name=f"{ONLY}{field.name}",
        dtype="int64",
        shape=(1,),
        minimum=ANY,
        maximum=size_of(field) - 1,
        neutral=str(ANY),
    )


def values_of(interactions: Interactions) -> dict[str, np.ndarray]:
    """By field the values of all items, int64 [N + 1, V], -1 in places without one; of one value it may be 0,
    unknown."""
    found = {}
    for field in filter_fields(interactions):
        held = columns(interactions.items, Layout((field,)))
        found[field.name] = held.ids if field.kind == "id" else np.where(held.sets > 0, held.sets, -2)
    return found


class Filters(nn.Module):
    """Scores of all items -> the same, `nothing` for those that are not to be listed."""

    def __init__(self, values: dict[str, np.ndarray], nothing: float) -> None:
        super().__init__()
        self.names, self.nothing = tuple(values), nothing
        for name, array in values.items():
            self.register_buffer(f"values_{name}", torch.from_numpy(array))

    def forward(
        self,
        scores: Float[Tensor, "B N+1"],
        history: Int64[Tensor, "B S"],
        excluded: Int[Tensor, " E"],
        ends: Int[Tensor, " B"],
        only: Sequence[Int64[Tensor, "B 1"]],
    ) -> Float[Tensor, "B N+1"]:
        """Item 0, the history and `excluded` are left out, and what lacks a value that is wanted."""
        size = scores.shape[1]
        for name, wanted in zip(self.names, only, strict=True):
            scores = torch.where((wanted < 0) | self._has(name, wanted), scores, self.nothing)
        first = torch.arange(scores.shape[0], device=scores.device) * size
        met = (known(history, size) + first[:, None]).flatten()
        named = known(excluded, size) + ragged.requests(ends, excluded.shape[0]) * size
        return scores.flatten().scatter(0, torch.cat((first, met, named)), self.nothing).reshape(-1, size)

    def _has(self, name: str, wanted: Int64[Tensor, "B 1"]) -> Bool[Tensor, "B N+1"]:
        """Whether each item has the wanted value of the field."""
        values = self.get_buffer(f"values_{name}")
        found = wanted == values[:, 0]
        for place in range(1, values.shape[1]):
            found = found | (wanted == values[:, place])
        return found
