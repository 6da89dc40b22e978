"""Operators on int64 that ONNX Runtime gets wrong, written with those that it gets right.

ONNX Runtime 1.31 compares int64 wrongly in Clip, Max, Min, ReduceMax, ReduceMin and Sign where two numbers share their
upper 32 bits and the lower ones differ in their first: the larger of 0 and 2^31 is 0 to it, and the smaller of 100 and
2^31 is 2^31. Its Less, Where, ArgMax and ArgMin are right. Its Div is right, too, but torch's exporter divides int64 as
float32 where they are to be cut off.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def clamp(input: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """int64 within whole bounds."""
    if not _is_whole(input, min, max):
        return NotImplemented
    found = input if min is None else torch.where(input < min, min, input)
    return found if max is None else torch.where(found > max, max, found)


def clamp_min(input: Tensor, min: Tensor | float) -> Tensor:
    """As `clamp`."""
    return clamp(input, min)


def clamp_max(input: Tensor, max: Tensor | float) -> Tensor:
    """As `clamp`."""
    return clamp(input, None, max)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two int64, element by element."""
    return torch.where(input < other, other, input) if _is_whole(input, other) else NotImplemented


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller."""
    return torch.where(input > other, other, input) if _is_whole(input, other) else NotImplemented


def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The largest of int64 along one axis."""
    return _extreme(torch.argmax, input, dim, keepdim=keepdim)


def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The smallest of int64 along one axis."""
    return _extreme(torch.argmin, input, dim, keepdim=keepdim)


def largest(input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """`torch.max` of int64: of two tensors, of all elements, or along one axis."""
    return _either(maximum, torch.argmax, input, *args, **kwargs)


def smallest(input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """`torch.min` of int64 likewise."""
    return _either(minimum, torch.argmin, input, *args, **kwargs)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1, of int64."""
    return (input > 0).long() - (input < 0).long() if _is_whole(input) else NotImplemented


def div(input: Tensor, other: Tensor | int, *, rounding_mode: str | None = None) -> Tensor:
    """int64 by int64, cut off towards zero: one node of integers in ONNX; torch's own is right in a saved program."""
    if rounding_mode != "trunc" or not torch.onnx.is_in_onnx_export() or not _is_whole(input, other):
        return NotImplemented
    by = other if isinstance(other, Tensor) else torch.tensor(other)
    shape = torch.broadcast_shapes(input.shape, by.shape)
    return torch.onnx.ops.symbolic("::Div", (input, by), dtype=torch.int64, shape=shape)


def _either(
    of_two: Callable[..., Tensor], place: Callable[..., Tensor], input: Tensor, *args: Any, **kwargs: Any
) -> Any:
    if not _is_whole(input):
        return NotImplemented
    other = args[0] if args else kwargs.get("other")
    if isinstance(other, Tensor):
        return of_two(input, other)
    if not args and "dim" not in kwargs:
        return _extreme(place, input.flatten(), 0, keepdim=False)
    dim, keepdim = (*args, kwargs.get("keepdim", False))[:2] if args else (kwargs["dim"], kwargs.get("keepdim", False))
    where = place(input, dim, keepdim=True)
    found = input.gather(dim, where)
    kind = torch.return_types.max if place is torch.argmax else torch.return_types.min
    return kind((found, where) if keepdim else (found.squeeze(dim), where.squeeze(dim)))


def _extreme(place: Callable[..., Tensor], input: Tensor, dim: int | Sequence[int], *, keepdim: bool) -> Tensor:
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if not _is_whole(input) or len(axes) != 1:
        return NotImplemented
    found = input.gather(axes[0], place(input, axes[0], keepdim=True))
    return found if keepdim else found.squeeze(axes[0])


def _is_whole(*values: Tensor | float | None) -> bool:
    """Whether they are int64, or whole numbers beside them."""
    whole = (one.dtype == torch.int64 if isinstance(one, Tensor) else isinstance(one, int | None) for one in values)
    return all(whole)


_FORMS: tuple[tuple[Callable[..., Any], tuple[str, ...]], ...] = (
    (clamp, ("clamp", "clip")),
    (clamp_min, ("clamp_min",)),
    (clamp_max, ("clamp_max",)),
    (maximum, ("maximum",)),
    (minimum, ("minimum",)),
    (amax, ("amax",)),
    (amin, ("amin",)),
    (largest, ("max",)),
    (smallest, ("min",)),
    (sign, ("sign",)),
    (div, ("div", "divide")),
)
REWRITES: dict[Callable[..., Any], Callable[..., Any]] = {
    getattr(place, name): form for form, names in _FORMS for name in names for place in (torch, Tensor)
}
