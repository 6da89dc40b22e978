"""Seeded inputs of low-rank attention for the tests of all lanes."""

from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """In the operator's order."""

    queries: Tensor
    ends: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor


def draw(
    sizes: list[int], dtype: torch.dtype = torch.float32, *, heads: int = 2, rank: int = 20, width: int = 8
) -> Inputs:
    """Users with so many candidates each; keys are 8 wide, values `width`."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(dtype)

    users = len(sizes)
    return Inputs(
        normal(sum(sizes), heads, 8),
        torch.tensor(sizes).cumsum(0),
        normal(users, heads, rank, 8) / 3,
        normal(users, heads, rank, width) / 3,
        normal(users, heads * width),
    )


def exact(inputs: Inputs) -> Inputs:
    """In fp64."""
    return Inputs(*(x.double() if x.is_floating_point() else x for x in inputs))


def permuted(inputs: Inputs, order: list[int]) -> tuple[Inputs, Tensor]:
    """The same users in another order, and where each packed candidate came from."""
    starts = [0, *inputs.ends.tolist()]
    rows = torch.cat([torch.arange(starts[user], starts[user + 1]) for user in order])
    sizes = torch.tensor([starts[user + 1] - starts[user] for user in order])
    state = (x[order] for x in (inputs.keys, inputs.values, inputs.bias))
    return Inputs(inputs.queries[rows], sizes.cumsum(0), *state), rows
