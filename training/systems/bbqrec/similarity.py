"""How similar the items of a history are to each other, as small integers: exact in every runtime.

Legend: B histories, L history, Q items of queries, N items, S sources, P levels, d width.
"""

import torch
from jaxtyping import Float, Int32, Int64, Shaped
from torch import Tensor, nn

from training.layers.items import known
from training.layers.quantiser import unit
from training.layers.rows import rows

_STEPS = 127
"""Steps of an element of a vector from 0 to 1."""
_COSINES = 8
"""Buckets of cosines: below an eighth, and one for each eighth from there on."""


class Similarity(nn.Module):
    """Compares what a buffer has of items in each source.

    An item beside itself is alike whatever it has there, which says nothing; such a pair counts as one that is not
    alike, in bucket 0, and so does any with the unknown item.
    """

    num_buckets: int

    def table(self) -> Shaped[Tensor, "N S w"]:
        """What is compared."""
        raise NotImplementedError

    def compare(self, queries: Shaped[Tensor, "B Q w"], keys: Shaped[Tensor, "B L w"]) -> Int64[Tensor, "B Q L"]:
        """The bucket of each pair in one source."""
        raise NotImplementedError

    def forward(self, queries: Int64[Tensor, "B Q"], keys: Int64[Tensor, "B L"]) -> list[Int64[Tensor, "B Q L"]]:
        """Of each source the buckets of all pairs; ids that are no item count as unknown."""
        table = self.table()
        queries, keys = known(queries, table.shape[0]), known(keys, table.shape[0])
        other = (queries[:, :, None] != keys[:, None, :]) & (queries[:, :, None] > 0) & (keys[:, None, :] > 0)
        pairs = zip(rows(table, queries).unbind(dim=2), rows(table, keys).unbind(dim=2), strict=True)
        return [torch.where(other, self.compare(query, key), 0) for query, key in pairs]


class SharedPrefix(Similarity):
    """Bucket 0 .. P: the length of the common prefix of two items' codes. A code below 0 is none."""

    codes: Int32[Tensor, "N S P"]

    def __init__(self, num_items: int, sources: int, levels: int) -> None:
        super().__init__()
        self.num_buckets = levels + 1
        self.register_buffer("codes", torch.zeros(num_items, sources, levels, dtype=torch.int32))

    def table(self) -> Int32[Tensor, "N S P"]:
        """The codes."""
        return self.codes

    def compare(self, queries: Int32[Tensor, "B Q P"], keys: Int32[Tensor, "B L P"]) -> Int64[Tensor, "B Q L"]:
        """Length of the common prefix."""
        same, found = None, []
        for query, key in zip(queries.unbind(dim=2), keys.unbind(dim=2), strict=True):
            equal = (query[:, :, None] == key[:, None, :]) & (query[:, :, None] >= 0)
            same = equal if same is None else same & equal
            found.append(same.long())
        return torch.stack(found).sum(0)


class Cosines(Similarity):
    """Bucket 0 .. 7: the eighth in which the cosine of the quantised vectors lies, their elements in steps of 1 / 127.

    Sums of products of such integers stay below 2 ** 24, so that fp32 has them exactly, in any order.
    """

    vectors: Float[Tensor, "N S d"]

    def __init__(self, num_items: int, sources: int, width: int) -> None:
        super().__init__()
        self.num_buckets = _COSINES
        self.register_buffer("vectors", torch.zeros(num_items, sources, width))

    def table(self) -> Float[Tensor, "N S d"]:
        """The vectors."""
        return self.vectors

    def compare(self, queries: Float[Tensor, "B Q d"], keys: Float[Tensor, "B L d"]) -> Int64[Tensor, "B Q L"]:
        """How many edges the product reaches."""
        product = queries @ keys.transpose(1, 2)
        edges = [number / _COSINES * _STEPS**2 for number in range(1, _COSINES)]
        return torch.stack([(product >= edge).long() for edge in edges]).sum(0)


def in_steps(vectors: Float[Tensor, "*N d"]) -> Float[Tensor, "*N d"]:
    """Their directions, as whole numbers up to 127."""
    return (unit(vectors) * _STEPS).round()
