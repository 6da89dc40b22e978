"""Seeded inputs of Combo-ID attention for the tests of all lanes."""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels.combo_id_attention import Codebooks, Fields, Fusion, field_salt, mix


class Inputs(NamedTuple):
    """In the public function's order."""

    users: Fields
    items: Fields
    ends: Tensor
    codebooks: Codebooks
    fusion: Fusion

    @property
    def flat(self) -> tuple[Tensor, ...]:
        """In the operator's order."""
        return (*self.users, *self.items, self.ends, *self.codebooks, *self.fusion)


def group(flat: tuple[Tensor, ...]) -> Inputs:
    """The inverse of `Inputs.flat`."""
    return Inputs(Fields(*flat[:2]), Fields(*flat[2:4]), flat[4], Codebooks(*flat[5:8]), Fusion(*flat[8:]))


def draw(
    sizes: list[int],
    dtype: torch.dtype = torch.float32,
    *,
    user: int = 5,
    item: int = 3,
    heads: int = 2,
    width: int = 8,
    rows: tuple[int, int] = (101, 103),
    seed: int = 0,
) -> Inputs:
    """Requests with so many candidates each; ids of 62 bits, codebooks so small that pairs collide, "gate" fusion."""
    random = torch.Generator().manual_seed(seed)

    def fields(count: int, of_each: int) -> Fields:
        tokens = torch.randn(count, of_each, (3 * heads + 2) * width, generator=random)
        return Fields(tokens.to(dtype), torch.randint(2**62, (count, of_each), generator=random))

    total = user + item
    first, second = (torch.randn(count, heads, generator=random).to(dtype) for count in rows)
    fusion = Fusion(mix("gate", torch.rand(heads, generator=random)), torch.rand(total, total, generator=random))
    return Inputs(
        fields(len(sizes), user),
        fields(sum(sizes), item),
        torch.tensor(sizes, dtype=torch.int32).cumsum(0, dtype=torch.int32),
        Codebooks(first, second, field_salt(total, seed)),
        fusion,
    )


def exact(inputs: Inputs) -> Inputs:
    """In fp64."""
    return group(tuple(x.double() if x.is_floating_point() else x for x in inputs.flat))


def permuted(inputs: Inputs, order: list[int]) -> tuple[Inputs, Tensor]:
    """The same requests in another order (or some of them), and where each packed candidate came from."""
    starts = [0, *inputs.ends.tolist()]
    rows = torch.cat([torch.arange(starts[number], starts[number + 1]) for number in order])
    sizes = torch.tensor([starts[number + 1] - starts[number] for number in order], dtype=torch.int32)
    return inputs._replace(
        users=Fields(*(x[order] for x in inputs.users)),
        items=Fields(*(x[rows] for x in inputs.items)),
        ends=sizes.cumsum(0, dtype=torch.int32),
    ), rows
