"""The definition of one CORP step in plain Python over tensors: slow, meant to be read (our design, after REG4Rec).

The paper states that paths whose steps disagree in category are dropped during decoding; threshold, floor and soft
mode are ours. Legend in `state.py`. Decisions are made on integers and comparisons, in fp16, fp32 or fp64.
"""

import torch
from torch import Tensor

from kernels.consistency_pruning.state import Beams, Candidates, Pruned, Rule


def consistency_pruning(candidates: Candidates, beams: Beams, need: Tensor, rule: Rule) -> Pruned:
    """The next beams of every request; `need` int32 [B] is the agreement that a path must have (0: no check)."""
    batch, slots, _ = beams.codes.shape
    dead = Beams(
        scores=torch.full((batch, slots), -torch.inf, dtype=candidates.scores.dtype),
        codes=torch.full_like(beams.codes, -1),
        last=torch.full_like(beams.last, -1 if beams.last.shape[2] == 1 else 0),
        match=torch.zeros_like(beams.match),
    )
    unset = torch.full_like(beams.match, -1)
    result = Pruned(beams=dead, parents=unset, tokens=unset.clone(), disagreeing=torch.zeros_like(need))
    for row in range(batch):
        _prune_request(row, candidates, beams, int(need[row]), rule, result)
    return result


def _prune_request(row: int, candidates: Candidates, beams: Beams, need: int, rule: Rule, result: Pruned) -> None:
    """Fills row `row` of `result`."""
    codebooks = beams.codes.shape[2]
    words = codebooks * rule.codebook_size
    scores = [float(score) for score in candidates.scores[row]]
    ranked = sorted((c for c in range(len(scores)) if scores[c] > -torch.inf), key=lambda c: (-scores[c], c))
    order = [c for c in ranked[: rule.window] if 0 <= candidates.tokens[row, c] < beams.codes.shape[1] * words]
    parents = {c: int(candidates.tokens[row, c]) // words for c in order}
    match = {
        c: int(beams.match[row, parents[c]]) + agreement(candidates.categories[row, c], beams.last[row, parents[c]])
        for c in order
    }
    disagreeing = [c for c in order if match[c] < need]
    final = {c: candidates.scores[row, c] + 0.0 for c in order}
    if rule.penalty:
        final |= {c: penalised(final[c], need - match[c], rule.penalty) for c in disagreeing}
        kept = sorted(order, key=lambda c: -float(final[c]))
    else:
        kept = _survivors(order, match, need, rule.min_keep)
        disagreeing = [c for c in order if c not in kept]
    result.disagreeing[row] = len(disagreeing)
    for slot, c in enumerate(kept[: beams.codes.shape[1]]):
        token = int(candidates.tokens[row, c]) % words
        result.beams.scores[row, slot] = final[c]
        result.beams.codes[row, slot] = beams.codes[row, parents[c]]
        result.beams.codes[row, slot, token // rule.codebook_size] = token % rule.codebook_size
        result.beams.last[row, slot] = candidates.categories[row, c]
        result.beams.match[row, slot] = match[c]
        result.parents[row, slot] = parents[c]
        result.tokens[row, slot] = token


def agreement(category: Tensor, last: Tensor) -> int:
    """Of two adjacent steps: 1 or 0 for ids [1], the overlap sum_c min(p_c, q_c) in SHARE_UNIT for shares [G]."""
    if len(category) == 1:
        return int(category == last and category >= 0)
    return int(torch.minimum(category, last).sum())


def penalised(score: Tensor, missing: int, penalty: float) -> Tensor:
    """`score` less `penalty` for each unit of missing agreement; never -inf, which would mean no candidate."""
    wide = score if score.dtype == torch.float64 else score.float()
    return (wide - penalty * missing).to(score.dtype).clamp(min=torch.finfo(score.dtype).min)


def _survivors(order: list[int], match: dict[int, int], need: int, min_keep: int) -> list[int]:
    """Those that agree enough, at least `min_keep`: the ones with the most agreement, then the best placed."""
    kept = [c for c in order if match[c] >= need]
    if len(kept) >= min_keep:
        return kept
    floor = sorted(order, key=lambda c: -match[c])[:min_keep]
    return [c for c in order if c in floor]
