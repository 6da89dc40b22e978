"""Recurrent networks as the exporter sees them: by the shapes of what they give.

To learn what a GRU gives, torch walks through it place by place with tensors that hold nothing, more than once for each
graph: minutes for a history of hundreds of events. The graph has one node for it all the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import is_fake

_GRU: Any = torch.ops.aten.gru.input
_BOTH_WAYS = 5
"""Place in the arguments behind sequence and state: whether it goes both ways."""

_Walk = Callable[..., tuple[Tensor, Tensor]]


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Within it, a GRU over tensors that hold nothing gives such tensors at once."""
    # torch finds what it walks through in the one or the other.
    walk, kernels = decomposition_table[_GRU], {**_GRU.py_kernels}
    _become(partial(_shaped, walk), dict.fromkeys(kernels, partial(_shaped, walk)))
    try:
        yield
    finally:
        _become(walk, kernels)


def _become(decomposition: _Walk, kernels: dict[Any, _Walk]) -> None:
    decomposition_table[_GRU] = decomposition
    _GRU.py_kernels.update(kernels)
    _GRU._dispatch_cache.clear()


def _shaped(walk: _Walk, sequence: Tensor, state: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """As `aten::gru.input`, whose output has the axes of the sequence in their order, whichever is the batch's."""
    if not is_fake(sequence):
        return walk(sequence, state, *rest)
    width = state.shape[2] * (2 if rest[_BOTH_WAYS] else 1)
    return sequence.new_empty(*sequence.shape[:2], width), torch.empty_like(state)
