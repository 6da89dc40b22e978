"""Tables by id in fewer bytes: rounded to what float16, or int8 with a scale for each row, holds to the bit.

A module is rounded once, before it is measured and released. From then on it is a model like any other: its graph,
whose tables `export.stored` writes in that form, answers what it answers.

Legend: R rows, D width.
"""

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Form = Literal["fp16", "int8"]

NARROWEST = {"fp16": 1, "int8": 4}
"""Narrower rows keep their form: with its scale an int8 row takes D + 4 bytes."""

LEVELS = 127
_DROPPED = 0xFF
"""Bits of a scale that are 0, so that its product with a level, 16 bits by 7, is exact, and the scale can be told from
the row."""


@runtime_checkable
class Storable(Protocol):
    """A layer with tables by id that it looks up."""

    def store_as(self, form: Form, /) -> None:
        """Rounds them."""
        ...


def store_tables(module: nn.Module, form: Form) -> None:
    """Rounds all tables by id of a module, and what is worked out from them after them.

    Raises ValueError for a value that the form cannot hold.
    """
    for layer in reversed([*module.modules()]):
        if isinstance(layer, Storable):
            layer.store_as(form)


@torch.no_grad()
def rounded(table: Float[Tensor, "R D"], form: Form) -> Float[Tensor, "R D"]:
    """The nearest table that the form holds; one with narrow rows as it is. Raises ValueError for a value too large."""
    if table.shape[1] < NARROWEST[form]:
        return table.clone()
    if form == "int8":
        scale = scales(table)
        return (table / scale).round().clamp(-LEVELS, LEVELS) * scale
    half = table.half()
    if not half.isfinite().all():
        raise ValueError(f"a table has {table.abs().max():.3g}, and float16 holds 65504 at most; store it as int8")
    return half.to(table.dtype)


def scales(table: Float[Tensor, "R D"]) -> Float[Tensor, "R 1"]:
    """Of each row: its greatest magnitude is 127 times that; 1 for a row of zeros."""
    scale = table.abs().amax(1, keepdim=True).float() / LEVELS
    bits = (scale.contiguous().view(torch.int32) + _DROPPED) & ~_DROPPED
    return torch.where(scale > 0, bits.view(torch.float32), 1.0).to(table.dtype)
