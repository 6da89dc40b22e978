"""Proof that items which a graph ranks otherwise than the module have the scores that the graph says.

Where a ranking is cut off within a tie, other items may stand at its end. The outputs alone cannot show that these
items are tied; the scores of all items, which the module ranked, can.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from export import eager
from training.servable import NO_SCORE, Packed, Signature

_RANKINGS = (torch.topk, Tensor.topk, torch.sort, Tensor.sort)
_ROUNDING = 1e-6


def unproven(
    signature: Signature, tensors: Packed, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]
) -> str | None:
    """The first integer output with items that the eager answer does not hold, and whose scores nothing shows."""
    suspects = [
        name
        for name, array in expected.items()
        if array.dtype.kind == "i" and array.ndim and (np.sort(array, -1) != np.sort(actual[name], -1)).any()
    ]
    if not suspects:
        return None
    with _Rankings() as rankings:
        eager.ask(signature, tensors)
    for name in suspects:
        if not any(_shows(scores, items, expected[name], actual[name]) for scores, items in rankings.found):
            return name
    return None


class _Rankings(TorchFunctionMode):
    """Collects what is ranked along its last axis: (scores of all items, items in their order)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[np.ndarray, np.ndarray]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RANKINGS and isinstance(args[0], Tensor):
            self.found.append((args[0].detach().numpy().copy(), result[1].numpy().copy()))
        return result


def _shows(scores: np.ndarray, items: np.ndarray, expected: np.ndarray, actual: np.ndarray) -> bool:
    """Whether `expected` is this ranking, and each of the `actual` items has the score of the one in its place; where
    the module puts 0 in place of an item that it ranks, to list none, both must."""
    if items.shape[:-1] != expected.shape[:-1] or items.shape[-1] < expected.shape[-1]:
        return False
    none = (expected == 0) & (items[..., : expected.shape[-1]] != 0)
    if (none & (actual != 0)).any() or (~none & (items[..., : expected.shape[-1]] != expected)).any():
        return False
    if (actual < 0).any() or (actual >= scores.shape[-1]).any():
        return False
    wanted, found = (np.take_along_axis(scores, ids, -1).astype(np.float64) for ids in (expected, actual))
    # Places without an item are told apart by numbers that no item has.
    told = np.sort(np.where(none, -1 - np.arange(none.shape[-1]), actual), -1)
    largest = np.abs(scores[np.isfinite(scores) & (scores > NO_SCORE)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        close = (wanted == found) | (np.abs(wanted - found) <= _ROUNDING * largest)
    return bool((np.diff(told, axis=-1) > 0).all() and close.all())
