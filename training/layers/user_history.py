"""A user's history as a step of an ensemble reads it, newest first with every event, as a retriever was trained on it.

Legend: B requests, S events of a row, L items that the retriever reads, V values.
"""

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from training.interactions import Interactions
from training.layers.items import known


def counted(interactions: Interactions, events: pl.DataFrame) -> np.ndarray | None:
    """bool [V]: of which values an event of a history is one of `events`, rows of the set's own events; None where all
    are.

    Raises ValueError where the value does not decide it: a live history has nothing else to tell.
    """
    remembered = interactions.remembered
    if len(events) == len(remembered):
        return None
    if "value" not in remembered.columns:
        raise ValueError(
            f"{interactions.name}: {len(events)} of {len(remembered)} events are positive and have no values, so a "
            "live history does not tell which of them the retriever reads; give the events a value (schema.toml)"
        )
    size = 1 + int(remembered["value"].max() or 0)  # pyright: ignore[reportArgumentType] - of whole numbers
    all_of, own = (np.bincount(one["value"].to_numpy(), minlength=size) for one in (remembered, events))
    if mixed := np.flatnonzero((own > 0) & (own < all_of)).tolist():
        raise ValueError(
            f"{interactions.name}: of the events with value {mixed[0]} {own[mixed[0]]} of {all_of[mixed[0]]} are "
            "positive, so a live history does not tell which of them the retriever reads; let the value decide "
            "(positive in schema.toml)"
        )
    return own > 0


class ReadHistory(nn.Module):
    """Rows of a history -> the newest L items that count."""

    counts: Tensor

    def __init__(self, counts: np.ndarray | None, length: int) -> None:
        super().__init__()
        self.length, self.by_value = length, counts is not None
        self.register_buffer("counts", torch.from_numpy(np.ones(1, bool) if counts is None else counts))

    def forward(
        self, items: Int64[Tensor, "B S"], length: Int64[Tensor, "B 1"], values: Int64[Tensor, "B S"] | None = None
    ) -> tuple[Int64[Tensor, "B L"], Int64[Tensor, " B"]]:
        """Items oldest first, 0 beyond their number; and that number."""
        counts = torch.arange(items.shape[1], device=items.device) < length
        if values is not None:
            of_value = self.counts.index_select(0, known(values, len(self.counts)).flatten())
            counts = counts & of_value.reshape(items.shape)
        place = counts.long().cumsum(1)
        read = counts & (place <= self.length)
        number = read.long().sum(1)
        target = torch.where(read, number[:, None] - place, self.length)
        none = items.new_zeros(1, self.length + 1).expand(items.shape[0], -1)
        return none.scatter(1, target, items)[:, : self.length], number
