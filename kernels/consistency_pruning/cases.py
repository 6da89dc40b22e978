"""Regimes of consistency pruning: 50 beams of 8 codebooks with 300 words, as REG4Rec-like decoding has them."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from kernels.case import Arguments, Case, Outputs
from kernels.consistency_pruning import reference
from kernels.consistency_pruning.configs import CONFIGS
from kernels.consistency_pruning.cost import Sizes, work
from kernels.consistency_pruning.kernel import launch
from kernels.consistency_pruning.op import consistency_pruning, flatten, vectorised
from kernels.consistency_pruning.state import (
    SHARE_UNIT,
    Beams,
    Candidates,
    Pruned,
    Rule,
    category_shares,
    required_match,
)

_CODEBOOK_SIZE = 300
_STEP = 5
"""Tokens that a path has when it is checked."""


def cases() -> list[Case]:
    """One request with 1,000 candidates, small and full beams, soft mode on shares, and as many as fill a GPU."""
    return [
        _case("request", "1024", Sizes(requests=1, candidates=1000, slots=50, codebooks=8, window=100)),
        _case("small beam", "64", Sizes(requests=2, candidates=40, slots=20, codebooks=8, window=40)),
        _case("beam", "128", Sizes(requests=2, candidates=100, slots=50, codebooks=8, window=100)),
        _case("soft", "128-shares", Sizes(requests=2, candidates=100, slots=50, codebooks=8, window=100, width=32)),
        _case("saturated", "128", Sizes(requests=1024, candidates=100, slots=50, codebooks=8, window=100)),
    ]


def _case(name: str, config: str, sizes: Sizes) -> Case:
    soft = sizes.width > 1
    rule = Rule(window=sizes.window, codebook_size=_CODEBOOK_SIZE, penalty=0.5 / SHARE_UNIT if soft else 0.0)
    return Case(
        name=name,
        config=config,
        inputs=partial(_inputs, sizes),
        op=partial(_run, consistency_pruning, rule),
        reference=partial(_run_in_fp32, rule),
        batched=partial(_run, vectorised, rule),
        launch=partial(_run, partial(launch, config=CONFIGS[90][config]), rule),
        work=work(sizes),
        metered=sizes.requests <= 2,
    )


def _run(step: Callable[..., Pruned], rule: Rule, *tensors: Tensor) -> Outputs:
    scores, tokens, categories, codes, last, match, need = tensors
    # The step reads no scores of the old beams: the candidates' scores hold them.
    beams = Beams(scores[:, : codes.shape[1]], codes, last, match)
    return flatten(step(Candidates(scores, tokens, categories), beams, need, rule))


def _run_in_fp32(rule: Rule, scores: Tensor, *rest: Tensor) -> Outputs:
    """The definition on scores that were widened: what is rounded before it is ordered belongs to the definition."""
    return _run(reference.consistency_pruning, rule, scores.float(), *rest)


def _inputs(sizes: Sizes, seed: int) -> Arguments:
    """Candidates in the order of their tokens, scores with ties, paths of four tokens of which some agree."""
    random = torch.Generator().manual_seed(seed)
    batch, slots = sizes.requests, sizes.slots

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=random, dtype=torch.int32)

    def category(count: int) -> Tensor:
        if sizes.width == 1:
            return draw(0, 3, batch, count, 1)
        return category_shares(torch.randn(batch, count, sizes.width, generator=random).softmax(2))

    unit = 1 if sizes.width == 1 else SHARE_UNIT
    chosen = torch.arange(sizes.codebooks) < _STEP - 1
    tokens = draw(0, slots * (sizes.codebooks - _STEP + 1) * _CODEBOOK_SIZE, batch, sizes.candidates).sort(dim=1).values
    parents, free = tokens // ((sizes.codebooks - _STEP + 1) * _CODEBOOK_SIZE), sizes.codebooks - _STEP + 1
    words = (_STEP - 1) * _CODEBOOK_SIZE + tokens % (free * _CODEBOOK_SIZE)
    return (
        draw(-4096, 0, batch, sizes.candidates) / 512,
        (parents * sizes.codebooks * _CODEBOOK_SIZE + words).int(),
        category(sizes.candidates),
        torch.where(chosen, draw(0, _CODEBOOK_SIZE, batch, slots, sizes.codebooks), -1).int(),
        category(slots),
        draw(0, _STEP - 1, batch, slots) * unit,
        torch.full((batch,), required_match(0.5, _STEP, unit), dtype=torch.int32),
    )
