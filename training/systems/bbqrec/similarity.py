"""How similar the items of a history are to each other, as small integers: exact in every runtime.

Legend: B histories, L history, N items, S sources, P levels, K buckets.
"""

import torch
from jaxtyping import Int32, Int64
from torch import Tensor, nn

from training.layers.items import known
from training.layers.rows import rows


class SharedPrefix(nn.Module):
    """By the length of the common prefix of two items' codes, in each source.

    An item beside itself shares everything whatever the codes are, so that it says nothing of them: such a pair counts
    as one that shares nothing, and so does any with the unknown item.
    """

    codes: Int32[Tensor, "N S P"]

    def __init__(self, num_items: int, sources: int, levels: int) -> None:
        super().__init__()
        self.num_buckets = levels + 1
        self.register_buffer("codes", torch.zeros(num_items, sources, levels, dtype=torch.int32))

    def prepare(self, codes: Int32[Tensor, "N S P"]) -> None:
        """Takes codes that no two items share where one of them has none. ValueError for those of other items."""
        if codes.shape != self.codes.shape:
            raise ValueError(f"codes are {[*codes.shape]}, must be {[*self.codes.shape]}")
        self.codes.copy_(codes)

    def forward(self, items: Int64[Tensor, "B L"]) -> list[Int64[Tensor, "B L L"]]:
        """Of each source the length 0 .. P for each pair of places; ids that are no item count as unknown."""
        items = known(items, self.codes.shape[0])
        other = items[:, :, None] != items[:, None, :]
        return [_common_prefix(one, other) for one in rows(self.codes, items).unbind(dim=2)]

    def between(self, items: Int64[Tensor, "B L"], listed: Int64[Tensor, "B T"]) -> Int64[Tensor, "B T S L"]:
        """Lengths of what each of other items shares with each place of the history."""
        items, listed = (known(one, self.codes.shape[0]) for one in (items, listed))
        other = listed[:, :, None] != items[:, None, :]
        both = zip(rows(self.codes, listed).unbind(dim=2), rows(self.codes, items).unbind(dim=2), strict=True)
        return torch.stack([_common_prefix(theirs, other, ours) for theirs, ours in both], dim=2)


def _common_prefix(
    queries: Int32[Tensor, "B Q P"], other: Tensor, keys: Int32[Tensor, "B L P"] | None = None
) -> Int64[Tensor, "B Q L"]:
    """Length of the common prefix of the pairs [B, Q, L] of which `other` is true, 0 of the rest."""
    keys = queries if keys is None else keys
    same, length = other, torch.zeros_like(other, dtype=torch.int64)
    for query, key in zip(queries.unbind(dim=2), keys.unbind(dim=2), strict=True):
        same = same & (query[:, :, None] == key[:, None, :])
        length = length + same.long()
    return length
