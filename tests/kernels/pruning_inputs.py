"""Random steps of consistency pruning that hold every edge: ties, NaN, infinities, -0.0, tokens out of range."""

from typing import NamedTuple

import torch
from torch import Tensor

from kernels.consistency_pruning import SHARE_UNIT, Beams, Candidates, Pruned, Rule, category_shares
from kernels.consistency_pruning.op import flatten

CODEBOOKS, WORDS = 4, 5
_SPECIAL = torch.tensor([torch.nan, -torch.inf, torch.inf, -0.0, 0.0])


class Inputs(NamedTuple):
    candidates: Candidates
    beams: Beams
    need: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """In the order of the operator and of the ONNX node."""
        return (*self.candidates, *self.beams[1:], self.need)

    def of(self, requests: Tensor) -> "Inputs":
        """Only these requests, in this order."""
        return Inputs(
            Candidates(*(x[requests] for x in self.candidates)),
            Beams(*(x[requests] for x in self.beams)),
            self.need[requests],
        )


def rule(*, window: int = 20, min_keep: int = 2, penalty: float = 0.0) -> Rule:
    return Rule(window=window, codebook_size=WORDS, min_keep=min_keep, penalty=penalty)


def draw(
    candidates: int, slots: int, *, batch: int = 3, width: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Inputs:
    """Scores on a coarse grid, so that many are equal."""
    random = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=random, dtype=torch.int32)

    def categories(count: int) -> Tensor:
        if width == 1:
            return integers(-1, 4, batch, count, 1)
        return category_shares((2 * torch.randn(batch, count, width, generator=random)).softmax(2))

    scores, special = integers(-8, 1, batch, candidates) / 4, integers(0, 30, batch, candidates).long()
    scores = torch.where(special < len(_SPECIAL), _SPECIAL[special.clamp(max=len(_SPECIAL) - 1)], scores).to(dtype)
    unit = 1 if width == 1 else SHARE_UNIT
    free = integers(0, 2, batch, slots, CODEBOOKS) == 0
    return Inputs(
        Candidates(scores, integers(-2, slots * CODEBOOKS * WORDS + 2, batch, candidates), categories(candidates)),
        Beams(
            torch.zeros(batch, slots, dtype=dtype),
            torch.where(free, -1, integers(0, WORDS, batch, slots, CODEBOOKS)).int(),
            categories(slots),
            integers(0, 3, batch, slots) * unit,
        ),
        integers(0, 4, batch) * unit,
    )


def assert_same_bits(actual: Pruned, expected: Pruned) -> None:
    """All outputs, scores included, bit for bit."""
    for one, other in zip(flatten(actual), flatten(expected), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if one.is_floating_point():
            kind = torch.int32 if one.dtype == torch.float32 else torch.int16
            one, other = one.contiguous().view(kind), other.contiguous().view(kind)
        assert torch.equal(one, other), f"{one} is not {other}"
