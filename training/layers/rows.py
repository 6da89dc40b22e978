"""Rows of tables by number, in the one form that becomes a single ONNX node: `index_select`.

`table[index]` would become a dozen, as an index may be negative. Every index here lies in 0 .. rows - 1.

Legend: R rows, *n any axes, *d axes of a row, B batch, N rows of each b, I indices.
"""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


def rows(table: Tensor, index: Int[Tensor, "*n"]) -> Tensor:
    """The rows [*n, *d] with these numbers of a table [R, *d]."""
    return table.index_select(0, index.flatten()).reshape(*index.shape, *table.shape[1:])


def rows_of_each(tensor: Shaped[Tensor, "B N *d"], index: Int[Tensor, "B I"]) -> Shaped[Tensor, "B I *d"]:
    """Of each b the rows `index[b]`."""
    offsets = torch.arange(tensor.shape[0], device=tensor.device)[:, None] * tensor.shape[1]
    return rows(tensor.flatten(0, 1), offsets + index.long())
