"""Outputs start as NaN (or a large integer) between canary cells, so that what is not written or is written beyond
the end shows."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

CANARIES = 64
"""Elements before and after each allocation."""
_INTEGER_POISON = 0x5A


def _poison(dtype: torch.dtype) -> float | int:
    return float("nan") if dtype.is_floating_point else _INTEGER_POISON


@pytest.fixture
def sums_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's tl.dot sums one product after another: a BLAS rounds otherwise for other numbers of rows, on
    some processors, which says nothing about the kernel."""

    def matmul(left: np.ndarray, right: np.ndarray, dtype: np.dtype) -> np.ndarray:
        return (left.astype(dtype)[..., :, :, None] * right.astype(dtype)[..., None, :, :]).sum(-2)

    monkeypatch.setattr(np, "matmul", matmul)


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Every torch.empty is poisoned and guarded; the guards are checked at the end."""
    allocations: list[Tensor] = []
    allocate = torch.empty

    def empty(*size: int, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> Tensor:
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
        whole = allocate(shape.numel() + 2 * CANARIES, dtype=dtype or torch.get_default_dtype(), device=device)
        whole.fill_(_poison(whole.dtype))
        allocations.append(whole)
        return whole[CANARIES : CANARIES + shape.numel()].view(shape)

    monkeypatch.setattr(torch, "empty", empty)
    yield allocations
    for whole in allocations:
        guards = torch.cat([whole[:CANARIES], whole[-CANARIES:]])
        untouched = guards.isnan() if whole.dtype.is_floating_point else guards == _INTEGER_POISON
        assert untouched.all(), "a kernel wrote outside of its output"
