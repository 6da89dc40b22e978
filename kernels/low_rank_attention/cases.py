"""Regimes of low-rank attention: one request, and as many as fill a GPU."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kernels.case import Arguments, Case, Outputs
from kernels.low_rank_attention import reference
from kernels.low_rank_attention.cost import Layout, Sizes, work
from kernels.low_rank_attention.kernel import CONFIGS, Bucket, launch, launch_absorbed
from kernels.low_rank_attention.op import absorbed_attention, low_rank_attention
from kernels.low_rank_attention.reference import Variant
from kernels.low_rank_attention.shipped import SHAPES, TYPES

Form = Literal["linear", "softmax", "absorbed"]

_CANDIDATES = 1000
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2}
"""On a GPU fp16 storage takes tf32 for the second product."""


def cases() -> list[Case]:
    """One request, and as many as fill a GPU; 1,000 candidates a user."""
    forms: list[tuple[Form, torch.dtype, Bucket]] = [
        ("linear", torch.float32, "narrow"),
        ("linear", torch.float32, "wide"),
        ("linear", torch.float16, "narrow"),
        ("linear", torch.float16, "wide"),
        ("softmax", torch.float16, "narrow"),
        ("absorbed", torch.float16, "wide"),
    ]
    regimes = (("request", 1), ("saturated", 256))
    return [_case(name, users, *form) for name, users in regimes for form in forms]


def _sizes(users: int, bucket: Bucket) -> Sizes:
    shape = SHAPES[bucket]
    return Sizes(
        users=users,
        candidates=users * _CANDIDATES,
        heads=shape.heads,
        rank=shape.rank,
        key=shape.head,
        value=shape.head,
        width=shape.width,
    )


def _case(name: str, users: int, form: Form, dtype: torch.dtype, bucket: Bucket) -> Case:
    layout: Layout = "absorbed" if form == "absorbed" else "factored"
    # The product of the narrow shape's heads is a wide matrix.
    sizes = _sizes(users, "narrow" if form == "absorbed" else bucket)
    computations = _ABSORBED if form == "absorbed" else _factored(form)
    return Case(
        name=name,
        config=f"{form}-{TYPES[dtype]}-{bucket}",
        inputs=partial(_inputs, sizes, dtype, layout),
        op=computations.op,
        reference=computations.reference,
        batched=computations.batched,
        launch=partial(computations.launch, config=CONFIGS[90, dtype][bucket]),
        work=work(sizes, dtype.itemsize, layout),
        tolerance=_TOLERANCE[dtype],
        metered=users == 1,
    )


def _attend_batched(queries: Tensor, ends: Tensor, keys: Tensor, values: Tensor, bias: Tensor, form: Variant) -> Tensor:
    """All users have equally many candidates here, so nothing is padded."""
    weights = queries.unflatten(0, (ends.shape[0], -1)).transpose(1, 2) @ keys.transpose(2, 3)  # (B, H, N, R)
    weights = torch.softmax(weights, dim=3) if form == "softmax" else weights
    return ((weights @ values).transpose(1, 2).flatten(2) + bias[:, None]).flatten(0, 1)


def _absorbed_batched(targets: Tensor, ends: Tensor, product: Tensor, bias: Tensor) -> Tensor:
    return (targets.unflatten(0, (ends.shape[0], -1)) @ product + bias[:, None]).flatten(0, 1)


class _Computations(NamedTuple):
    op: Callable[..., Outputs]
    reference: Callable[..., Outputs]
    batched: Callable[..., Outputs]
    launch: Callable[..., Outputs]


def _factored(form: Variant) -> _Computations:
    return _Computations(
        partial(low_rank_attention, variant=form),
        partial(reference.low_rank_attention, variant=form),
        partial(_attend_batched, form=form),
        partial(launch, variant=form),
    )


_ABSORBED = _Computations(absorbed_attention, reference.absorbed_attention, _absorbed_batched, launch_absorbed)


def _inputs(sizes: Sizes, dtype: torch.dtype, layout: Layout, seed: int) -> Arguments:
    """Standard normal, so that scores have the size of sqrt(E); the state is scaled down by it."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(dtype)

    ends = torch.arange(1, sizes.users + 1) * (sizes.candidates // sizes.users)
    out = sizes.heads * sizes.value
    if layout == "absorbed":
        product = draw(sizes.users, sizes.width, out) / 8
        return draw(sizes.candidates, sizes.width), ends, product, draw(sizes.users, out)
    return (
        draw(sizes.candidates, sizes.heads, sizes.key),
        ends,
        draw(sizes.users, sizes.heads, sizes.rank, sizes.key) / 4,
        draw(sizes.users, sizes.heads, sizes.rank, sizes.value) / 4,
        draw(sizes.users, out),
    )
