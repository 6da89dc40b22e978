"""Modules that list next items, with what depends on weights alone worked out once.

Legend: B requests, L history, N items, top places of a list.
"""

from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from training.layers.listing import Best


@runtime_checkable
class Foldable(Protocol):
    """A module of the task `next_item` that looks items up in tables."""

    max_length: int

    def tables(self) -> tuple[Tensor, ...]:
        """By item, [N + 1, ...] each."""
        ...

    def listed(
        self, tables: tuple[Tensor, ...], items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int, /
    ) -> Best:
        """The list, as `best`."""
        ...


class Folded(nn.Module):
    """The same lists, out of tables that are constants."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.max_length = module, cast(Foldable, module).max_length
        with torch.no_grad():
            tables = cast(Foldable, module).tables()
        self.number = len(tables)
        for number, table in enumerate(tables):
            self.register_buffer(f"table_{number}", table)

    def tables(self) -> tuple[Tensor, ...]:
        return tuple(self.get_buffer(f"table_{number}") for number in range(self.number))

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        """Of the whole catalogue, by the newest state."""
        return cast(Foldable, self.module).listed(self.tables(), items, length, top)
