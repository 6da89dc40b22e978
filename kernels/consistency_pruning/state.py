"""What one step of CRSS and CORP works on: beams, the candidates that would extend them, and the rule.

Legend: B requests, C candidates of a request, K beam slots, M codebooks, D words of a codebook, G numbers that
describe a category: 1 for an id, otherwise one share per category.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

SHARE_UNIT = 1 << 15
"""What the shares of a category distribution add up to, and what one step in full agreement counts."""
_SLACK = 1e-6
"""Of one agreement: equality with the threshold passes although theta is a rounded number."""


class Beams(NamedTuple):
    """The paths of B requests, K slots each; a dead slot has score -inf."""

    scores: Float[Tensor, "B K"]
    """fp32 or fp16: sum of the log-probabilities of the path."""
    codes: Int[Tensor, "B K M"]
    """int32: the chosen word of each codebook, -1 where none is chosen yet."""
    last: Int[Tensor, "B K G"]
    """int32: category of the newest step, an id (-1: none) or shares (all 0: none)."""
    match: Int[Tensor, "B K"]
    """int32: agreement of adjacent steps so far, in counts for ids, in SHARE_UNIT for shares."""


class Candidates(NamedTuple):
    """Ways to extend the beams, C per request. An entry with score -inf or NaN is no candidate: the token of a used
    codebook or of a dead beam, or the filling of a request that has fewer than C. An entry whose token is outside
    0..K*M*D-1 is never kept."""

    scores: Float[Tensor, "B C"]
    """fp32 or fp16: score of the beam plus log-probability of the token."""
    tokens: Int[Tensor, "B C"]
    """int32: (beam * M + codebook) * D + word."""
    categories: Int[Tensor, "B C G"]
    """int32: category that the model expects after this token, an id (-1: unknown) or shares."""


class Pruned(NamedTuple):
    """The result of one step: the new beams, best first, dead slots last."""

    beams: Beams
    parents: Int[Tensor, "B K"]
    """int32: slot that the path was in before, for the reordering of caches; -1 in a dead slot."""
    tokens: Int[Tensor, "B K"]
    """int32: codebook * D + word, the decoder's next input; -1 in a dead slot."""
    disagreeing: Int[Tensor, " B"]
    """int32: candidates in the window that the consistency check dropped (or penalised)."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How candidates are chosen."""

    window: int
    """Best candidates of a request that are looked at (over * K); the others are forgotten."""
    codebook_size: int
    """D."""
    min_keep: int = 1
    """Candidates that survive in any case, those with the most agreement; fewer only where there are fewer."""
    penalty: float = 0.0
    """0: hard mode, paths that agree too little are dropped. Otherwise soft mode, nothing is dropped: what the score
    loses per unit of missing agreement; a power of two, so that the product is exact and fused or unfused
    arithmetic gives the same bits."""

    def __post_init__(self) -> None:
        for name in ("window", "codebook_size", "min_keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not (self.penalty == 0 or (2**-40 <= self.penalty <= 2**40 and math.frexp(self.penalty)[0] == 0.5)):
            raise ValueError(f"penalty is {self.penalty}, must be 0 or a power of two in 2**-40 to 2**40")


def required_match(theta: float, step: int, unit: int = 1) -> int:
    """Agreement that a path of `step` tokens needs: a share theta of its step-1 adjacent pairs.

    `unit` is 1 for category ids and SHARE_UNIT for shares. 0 (theta 0, or a step without check) switches pruning off.
    Raises ValueError for a theta outside 0..1.
    """
    if not 0 <= theta <= 1:
        raise ValueError(f"theta is {theta}, must be in 0..1")
    return max(0, math.ceil((theta * (step - 1) - _SLACK) * unit))


def initial_beams(batch: int, slots: int, codebooks: int, width: int = 1) -> Beams:
    """One empty path in slot 0 of each request, score 0; `width` is G. On the CPU, fp32."""
    scores = torch.full((batch, slots), -math.inf)
    scores[:, 0] = 0.0
    nothing = -1 if width == 1 else 0
    return Beams(
        scores=scores,
        codes=torch.full((batch, slots, codebooks), -1, dtype=torch.int32),
        last=torch.full((batch, slots, width), nothing, dtype=torch.int32),
        match=torch.zeros(batch, slots, dtype=torch.int32),
    )


def category_shares(probabilities: Float[Tensor, "*N G"]) -> Int[Tensor, "*N G"]:
    """Distributions as int32 shares of SHARE_UNIT, which they add up to exactly.

    Shares are rounded down, what is left goes to the likeliest category (the first of several), so that equal
    distributions overlap in exactly SHARE_UNIT.
    """
    shares = (probabilities.float() * SHARE_UNIT).floor().to(torch.int32)
    rest = SHARE_UNIT - shares.sum(-1, keepdim=True, dtype=torch.int32)
    likeliest = probabilities.argmax(-1, keepdim=True)
    return shares.scatter_add(-1, likeliest, rest)


def check(candidates: Candidates, beams: Beams, need: Tensor, rule: Rule) -> None:
    """Raises ValueError, naming the tensor, unless shapes, dtypes and sizes fit together."""
    batch, slots, codebooks = _axes("codes", beams.codes, 3)
    _, size, width = _axes("categories", candidates.categories, 3)
    integers = {
        "tokens": (candidates.tokens, (batch, size)),
        "categories": (candidates.categories, (batch, size, width)),
        "codes": (beams.codes, (batch, slots, codebooks)),
        "last": (beams.last, (batch, slots, width)),
        "match": (beams.match, (batch, slots)),
        "need": (need, (batch,)),
    }
    for name, (tensor, shape) in integers.items():
        if tensor.dtype != torch.int32 or tensor.shape != shape:
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}, must be int32 {list(shape)}")
    scores = candidates.scores
    if scores.dtype not in (torch.float16, torch.float32) or scores.shape != (batch, size):
        raise ValueError(f"scores is {scores.dtype} {list(scores.shape)}, must be fp16 or fp32 {[batch, size]}")
    if min(slots, codebooks, width) < 1:
        raise ValueError(f"slots, codebooks and width are {slots}, {codebooks} and {width}, must be at least 1")
    if slots * codebooks * rule.codebook_size >= 1 << 31:
        raise ValueError(f"{slots} slots x {codebooks} codebooks x {rule.codebook_size} words exceed an int32 token")


def _axes(name: str, tensor: Tensor, count: int) -> torch.Size:
    if tensor.dim() != count:
        raise ValueError(f"{name} has {tensor.dim()} axes, must have {count}")
    return tensor.shape
