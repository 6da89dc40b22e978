"""What a retrieval model speaks: vectors of users and of items, whose product is the score.

Legend: B users, N items, D width of vectors.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from training.data.retrieval import RetrievalBatch, RetrievalData


class Towers(Protocol):
    """What every module of the task `retrieval` is, beside `nn.Module`."""

    def prepare(self, data: RetrievalData, /) -> None:
        """Fills buffers from the training part."""
        ...

    def users(self, batch: RetrievalBatch, /) -> Float[Tensor, "B D"]:
        """Vectors of users, from `user_fields`, `history` and `length` alone; an empty history is legal, and so is an
        id that is no item's (it counts as unknown)."""
        ...

    def items(self) -> Float[Tensor, "N+1 D"]:
        """Vectors of all items; row 0 is never listed."""
        ...

    def loss(self, batch: RetrievalBatch, share_done: float, /) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the task's stage and scalars to log; a system with stages of its own need not have it."""
        ...


@runtime_checkable
class DescribesItems(Protocol):
    """Towers that make a vector of an item by its fields, also of one that came after training."""

    def described(self, fields: Int[Tensor, "B F"], /) -> Float[Tensor, "B D"]:
        """Vectors of items by the ids of their fields, in the order of `training.data.retrieval.fields_of`."""
        ...
