"""Histories as sets of items.

Legend: B users, L history, N items, D anything.
"""

from jaxtyping import Float, Int
from torch import Tensor

from training.layers.items import known


def as_set(history: Int[Tensor, "B L"], like: Float[Tensor, "N+1 D"]) -> Float[Tensor, "B N"]:
    """1 for the items 1 to N that are in the history, however often, in the dtype of `like`, which has a row for each
    item and for the unknown one; what is no item's id counts for nothing."""
    num_rows = like.shape[0]
    empty = like.new_zeros(history.shape[0], num_rows)
    return empty.scatter(1, known(history, num_rows), 1.0)[:, 1:]
