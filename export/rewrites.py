"""Operators that torch's exporter cannot translate, or that ONNX Runtime gets wrong, written with others while a module
is traced.

Axes: B rows, L elements of a row, D width of a table, N elements of a packed input, S segments.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from export import whole_numbers


class Rewrites(TorchFunctionMode):
    """Within it, calls of such operators are answered by their rewritten form."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        rewrite = _REWRITES.get(func)
        result = NotImplemented if rewrite is None else rewrite(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if result is NotImplemented else result


def repeat_interleave(
    input: Tensor,
    repeats: Tensor | int | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element as often as its number of repeats says; needs the `output_size`, or the graph's shape is unknown."""
    if output_size is None or (repeats is not None and not isinstance(repeats, Tensor)):
        return NotImplemented
    if repeats is None:
        return segments(input.cumsum(0), output_size)
    if dim is None:
        input, dim = input.flatten(), 0
    numbers = repeats.expand(input.shape[dim]) if repeats.numel() == 1 else repeats
    return input.index_select(dim, segments(numbers.cumsum(0), output_size))


def segments(ends: Tensor, size: int) -> Tensor:
    """int64 [N]: the segment of each of `size` elements, for accumulated counts [S]."""
    marks = torch.zeros(size + 1, dtype=torch.int64)
    return marks.scatter_add(0, ends.long(), torch.ones_like(ends, dtype=torch.int64)).cumsum(0)[:-1]


def embedding_bag(  # noqa: PLR0913 - torch's parameters
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Rows of `weight` [.., D] pooled over each row of `input` [B, L]; a bag of nothing but padding is 0."""
    if input.ndim != 2 or max_norm is not None:
        return NotImplemented
    rows = torch.nn.functional.embedding(input, weight)  # (B, L, D)
    counted = torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        counted = input != padding_idx % weight.shape[0]
    if mode == "max":
        greatest = rows.masked_fill(~counted[..., None], float("-inf")).amax(1)
        return torch.where(counted.any(1, keepdim=True), greatest, torch.zeros_like(greatest))
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[..., None]
    total = rows.masked_fill(~counted[..., None], 0.0).sum(1)
    return total if mode == "sum" else total / counted.sum(1, keepdim=True).clamp(min=1).to(total.dtype)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes as one, by a reshape: the exporter's own form looks up, cuts and joins the shape when it runs."""
    if input.ndim == 0:
        return NotImplemented
    first, last = start_dim % input.ndim, end_dim % input.ndim
    if first >= last:
        return input if first == last else NotImplemented
    return input.reshape(*input.shape[:first], prod(input.shape[first : last + 1]), *input.shape[last + 1 :])


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several, likewise."""
    if not isinstance(dim, int):
        return NotImplemented
    place = dim % input.ndim
    return input.reshape(*input.shape[:place], *sizes, *input.shape[place + 1 :])


_REWRITES: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.repeat_interleave: repeat_interleave,
    Tensor.repeat_interleave: repeat_interleave,
    torch.nn.functional.embedding_bag: embedding_bag,
    torch.flatten: flatten,
    Tensor.flatten: flatten,
    torch.unflatten: unflatten,
    Tensor.unflatten: unflatten,
    **whole_numbers.REWRITES,
}
