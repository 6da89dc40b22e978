"""What served tokenizers share: requests with checked content, and ids that say where content cannot be right.

Legend: B items of a request or batch, P positions.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from training.data.catalogue import ItemBatch
from training.servable import Packed

NO_ID = -1
"""Each id of an item whose content holds a value that is not finite."""


def checked(parts: Packed) -> tuple[Packed, Bool[Tensor, "B 1"]]:
    """The vectors in fp64, those with a value that is not finite as zeros, and which rows hold none of these."""
    valid = torch.stack([part.isfinite().all(1) for part in parts]).all(0)[:, None]
    return tuple(torch.where(valid, part, 0.0).double() for part in parts), valid


def ids_or_none(codes: Int64[Tensor, "B P"], valid: Bool[Tensor, "B 1"]) -> Int64[Tensor, "B P"]:
    """Ids, -1 for content that cannot be right."""
    return torch.where(valid, codes, NO_ID)


def or_nan(values: Float[Tensor, "B P"], valid: Bool[Tensor, "B 1"]) -> Float[Tensor, "B P"]:
    """Values, NaN for content that cannot be right."""
    return torch.where(valid, values, torch.nan)


def content_requests(vectors: ItemBatch, names: tuple[str, ...]) -> Callable[[int, int], Packed]:
    """(B, seed) -> vectors of these names of random items; the first item has no content, the second none but text,
    the third is far outside what training saw."""

    def example(batch_size: int, seed: int) -> Packed:
        rows = np.random.default_rng(seed).integers(1, len(vectors.item), batch_size)
        parts = {name: getattr(vectors, name)[torch.from_numpy(rows)].clone() for name in names}
        for name, part in parts.items():
            part[:1] = 0.0
            part[1:2] *= name == "text"
            part[2:3] *= 1e3
        return tuple(parts.values())

    return example
