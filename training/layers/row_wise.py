"""Look-ups in tables whose rows are spread over processes, each of which has a batch of its own.

Such a table is a DTensor, sharded by rows over all processes. Each process asks for rows of its batch, all processes
find those that they have, and each gets its own; the gradient goes the same way back. Every process must make the same
look-ups in the same order; how many rows each asks for is free. A plain table is looked up as ever.

Legend: R rows, D width, F fields, W processes, *n any axes.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    # Its import takes a second; only a run that spreads its tables needs it, and every command imports this module.
    from torch.distributed.tensor import DTensor

_DTENSORS = "torch.distributed.tensor"


def is_spread(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether its rows lie over processes; none does where nothing has imported what spreads them."""
    return _DTENSORS in sys.modules and isinstance(tensor, sys.modules[_DTENSORS].DTensor)


def local(tensor: Tensor) -> Tensor:
    """This process's rows of a spread table; any other tensor itself."""
    return tensor.to_local() if is_spread(tensor) else tensor


def look_up(table: Float[Tensor, "R D"], index: Int[Tensor, "*n"]) -> Float[Tensor, "*n D"]:
    """The rows with these numbers, all of which are in 0 .. R - 1."""
    return _asked_of_all(table, index) if is_spread(table) else nn.functional.embedding(index, table)


def _asked_of_all(table: "DTensor", index: Int[Tensor, "*n"]) -> Float[Tensor, "*n D"]:
    asked, group = index.flatten(), table.device_mesh.get_group()
    most = torch.tensor([asked.numel()], device=asked.device)
    dist.all_reduce(most, dist.ReduceOp.MAX, group=group)
    padded = nn.functional.pad(asked, (0, int(most) - asked.numel()))
    of_all = padded.new_empty(dist.get_world_size(group) * padded.numel())
    dist.all_gather_single(of_all, padded, group=group)
    found = _Found.apply(table.to_local(), of_all - first_row(table), group)
    assert isinstance(found, Tensor)
    return found[: asked.numel()].reshape(*index.shape, table.shape[1])


def refuse_spread(table: Tensor) -> None:
    """Raises RuntimeError, as an operator would, where what is read as a whole later is spread."""
    if is_spread(table):
        raise RuntimeError("a DTensor is read as a whole")


def first_row(table: "DTensor") -> int:
    """Number of the first row that this process has; each but the last ones has as many."""
    return table.device_mesh.get_local_rank() * -(-table.shape[0] // table.device_mesh.size())


def means(table: Float[Tensor, "R D"], share: Float[Tensor, " R"], sizes: Sequence[int]) -> Float[Tensor, "F D"]:
    """Of each field, whose rows follow one another, the sum of its rows times their shares."""
    if is_spread(table):
        return _summed_by_all(table, share, sizes)
    parts = zip(share.split(sizes), table.split(sizes), strict=True)  # pyright: ignore[reportArgumentType]
    return torch.stack([one @ rows for one, rows in parts])


def _summed_by_all(table: "DTensor", share: Float[Tensor, " R"], sizes: Sequence[int]) -> Float[Tensor, "F D"]:
    own = table.to_local()
    first = first_row(table)
    field = torch.arange(len(sizes), device=own.device).repeat_interleave(torch.tensor(sizes, device=own.device))
    mine = slice(first, first + own.shape[0])
    part = own.new_zeros(len(sizes), own.shape[1]).index_add(0, field[mine], share[mine, None] * own)
    found = _Summed.apply(part, table.device_mesh.get_group())
    assert isinstance(found, Tensor)
    return found


class _Found(torch.autograd.Function):
    """Rows that any process has, for the one that asked. DTensor's own look-up makes a gradient of the whole table."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, places: Tensor, group: dist.ProcessGroup) -> Tensor:
        """`places` [W * n] are what all ask for, counted from this process's first row."""
        ctx.mine = mine = (places >= 0) & (places < own.shape[0])
        ctx.places, ctx.shape, ctx.group = places[mine], own.shape, group
        vectors = own.new_zeros(len(places), own.shape[1])
        vectors[mine] = own[ctx.places]
        found = own.new_empty(len(places) // dist.get_world_size(group), own.shape[1])
        dist.reduce_scatter_single(found, vectors, group=group)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        of_all = gradients[0].new_empty(len(ctx.mine), ctx.shape[1])
        dist.all_gather_single(of_all, gradients[0].contiguous(), group=ctx.group)
        return of_all.new_zeros(ctx.shape).index_add(0, ctx.places, of_all[ctx.mine]), None, None


class _Summed(torch.autograd.Function):
    """Sum over processes, whose gradients differ and are summed as well."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        found = part.clone()
        dist.all_reduce(found, group=group)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        found = gradients[0].contiguous().clone()
        dist.all_reduce(found, group=ctx.group)
        return found, None
