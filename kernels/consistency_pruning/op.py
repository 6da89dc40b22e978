"""The operator recserve::consistency_pruning: vectorised PyTorch on a CPU, one kernel on a GPU, one node in ONNX."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from kernels.bodies import DOMAIN
from kernels.consistency_pruning.kernel import launch
from kernels.consistency_pruning.state import Beams, Candidates, Pruned, Rule, check

_SCHEMA = (
    "(Tensor scores, Tensor tokens, Tensor categories, Tensor codes, Tensor last, Tensor match, Tensor need,"
    " int window, int codebook_size, int min_keep, float penalty)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
Flat = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""The fields of `Pruned`, with those of its beams first: what a PyTorch operator can return."""


def consistency_pruning(candidates: Candidates, beams: Beams, need: Tensor, rule: Rule) -> Pruned:
    """One CORP step: orders, checks and compacts the candidates of each request into its next beams.

    `need` int32 [B]: agreement that a path must have (`required_match`); requests may be at different steps.
    Equals `reference.consistency_pruning` bit for bit. Raises ValueError for shapes and dtypes that do not fit.
    """
    tensors = (*candidates, *beams[1:], need)
    if torch.onnx.is_in_onnx_export():
        return unflatten(_node(tensors, rule))
    return unflatten(_operator(*tensors, rule.window, rule.codebook_size, rule.min_keep, rule.penalty))


def unflatten(flat: Sequence[Tensor]) -> Pruned:
    """The operator's outputs as `Pruned`."""
    scores, codes, last, match, parents, tokens, disagreeing = flat
    return Pruned(Beams(scores, codes, last, match), parents, tokens, disagreeing)


def flatten(pruned: Pruned) -> Flat:
    """The inverse of `unflatten`."""
    beams = pruned.beams
    paths = (beams.scores, beams.codes, beams.last, beams.match)
    return (*paths, pruned.parents, pruned.tokens, pruned.disagreeing)


def _unpack(arguments: Sequence[Any]) -> tuple[Candidates, Beams, Tensor, Rule]:
    """The operator's arguments as what they are; raises ValueError where they do not fit together."""
    scores, tokens, categories, codes, last, match, need, window, codebook_size, min_keep, penalty = arguments
    rule = Rule(window=window, codebook_size=codebook_size, min_keep=min_keep, penalty=penalty)
    candidates, beams = Candidates(scores, tokens, categories), Beams(scores, codes, last, match)
    check(candidates, beams, need, rule)
    return candidates, beams, need, rule


@torch.library.custom_op("recserve::consistency_pruning", mutates_args=(), device_types="cuda", schema=_SCHEMA)
def _operator(*arguments: Any) -> Flat:
    return flatten(launch(*_unpack(arguments)))


def _on_cpu(*arguments: Any) -> Flat:
    return flatten(vectorised(*_unpack(arguments)))


# Straight to the dispatcher: register_kernel's wrapper takes 25 us a call.
torch.library.impl("recserve::consistency_pruning", "cpu", _on_cpu)


@_operator.register_fake
def _(*arguments: Any) -> tuple[Tensor, ...]:
    scores, _tokens, _categories, codes, last, match, need = arguments[:7]
    like = (codes, last, match, match, match, need)
    return (scores.new_empty(match.shape), *(torch.empty_like(tensor) for tensor in like))


def _node(tensors: tuple[Tensor, ...], rule: Rule) -> Sequence[Tensor]:
    """The operator as one bare node of an ONNX graph."""
    scores, _tokens, _categories, codes, last, match, need = tensors
    like = (codes, last, match, match, match, need)
    return torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::ConsistencyPruning",
        tensors,
        asdict(rule),
        dtypes=[scores.dtype] + [torch.int32] * len(like),
        shapes=[match.shape, *(tensor.shape for tensor in like)],
        version=1,
    )


def vectorised(candidates: Candidates, beams: Beams, need: Tensor, rule: Rule) -> Pruned:
    """The definition without a loop, in PyTorch."""
    _, slots, codebooks = beams.codes.shape
    words = codebooks * rule.codebook_size
    scores, tokens, order = _first(candidates, beams, rule)
    live = scores > -torch.inf
    parents = tokens // words
    categories = _rows(_filled(candidates.categories, slots, 0), order)
    match = beams.match.gather(1, parents) + _agreement(categories, _rows(beams.last, parents))
    disagreeing = live & (match < need[:, None])
    if rule.penalty:
        scores = torch.where(disagreeing, _penalised(scores, need[:, None] - match, rule.penalty), scores)
        best = scores.argsort(dim=1, descending=True, stable=True)[:, :slots]
    else:
        kept = live & ~(disagreeing & ~_floor(match, live, disagreeing, rule.min_keep))
        disagreeing, live = live & ~kept, kept
        best = live.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :slots]
    alive, parents, tokens = live.gather(1, best), parents.gather(1, best), tokens.gather(1, best) % words
    codebook = torch.arange(codebooks, device=tokens.device) == (tokens // rule.codebook_size)[:, :, None]
    codes = torch.where(codebook, (tokens % rule.codebook_size)[:, :, None].int(), _rows(beams.codes, parents))
    nothing = -1 if beams.last.shape[2] == 1 else 0
    return Pruned(
        beams=Beams(
            scores=torch.where(alive, scores.gather(1, best), -torch.inf),
            codes=torch.where(alive[:, :, None], codes, -1),
            last=torch.where(alive[:, :, None], _rows(categories, best), nothing),
            match=torch.where(alive, match.gather(1, best), 0),
        ),
        parents=torch.where(alive, parents, -1).int(),
        tokens=torch.where(alive, tokens, -1).int(),
        disagreeing=disagreeing.sum(1, dtype=torch.int32),
    )


def _first(candidates: Candidates, beams: Beams, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, tokens and positions of the window's entries, best first; score -inf where there is no candidate."""
    _, slots, codebooks = beams.codes.shape
    scores = torch.where(candidates.scores > -torch.inf, candidates.scores + 0.0, -torch.inf)
    scores, order = _filled(scores, slots, -torch.inf).sort(dim=1, descending=True, stable=True)
    scores, order = _filled(scores[:, : rule.window], slots, -torch.inf), _filled(order[:, : rule.window], slots, 0)
    tokens = _filled(candidates.tokens, slots, -1).gather(1, order).long()
    in_range = (tokens >= 0) & (tokens < slots * codebooks * rule.codebook_size)
    return torch.where(in_range, scores, -torch.inf), torch.where(in_range, tokens, 0), order


def _filled(tensor: Tensor, columns: int, value: float) -> Tensor:
    """[B, C, ...] with at least `columns` columns."""
    missing = columns - tensor.shape[1]
    if missing <= 0:
        return tensor
    return pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, missing), value=value)


def _rows(tensor: Tensor, index: Tensor) -> Tensor:
    """`tensor` [B, N, X] at rows `index` [B, I] -> [B, I, X]."""
    return tensor.gather(1, index[:, :, None].expand(-1, -1, tensor.shape[2]))


def _agreement(categories: Tensor, last: Tensor) -> Tensor:
    if categories.shape[2] == 1:
        return ((categories == last) & (categories >= 0))[:, :, 0].int()
    return torch.minimum(categories, last).sum(2, dtype=torch.int32)


def _penalised(scores: Tensor, missing: Tensor, penalty: float) -> Tensor:
    lowered = (scores.float() - penalty * missing.float()).to(scores.dtype)
    return lowered.clamp(min=torch.finfo(scores.dtype).min)


def _floor(match: Tensor, live: Tensor, disagreeing: Tensor, min_keep: int) -> Tensor:
    """The candidates that survive in any case: none where enough agree."""
    columns = match.shape[1]
    min_keep = min(min_keep, columns)
    key = torch.where(live, match.long() * columns + torch.arange(columns - 1, -1, -1, device=match.device), -1)
    edge = key.topk(min_keep).values[:, -1:]
    short = (live & ~disagreeing).sum(1, keepdim=True) < min_keep
    return short & live & (key >= edge)
