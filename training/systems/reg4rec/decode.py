"""Beam search over sets of tokens: CRSS chooses codebook and word by confidence, CORP drops paths that disagree.

Follows kernels/consistency_pruning; a fixed number of steps, so that it exports as one graph. Keys and values of the
history are computed once per request and shared by its paths, those of a path are kept from step to step.

Legend: B requests, K beams, A live paths of a step (1 at first, then K), W candidates looked at, M codebooks and steps,
D words, S places of a history.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from kernels.consistency_pruning import (
    Beams,
    Candidates,
    Rule,
    best_places,
    consistency_pruning,
)
from training.layers.generator import reordered
from training.layers.rows import rows, rows_of_each
from training.systems.reg4rec.catalogue import Catalogue, possible_tokens
from training.systems.reg4rec.generator import Encoded, Generator

_SLACK = 1e-6
"""Of one agreement, as in kernels/consistency_pruning."""
_GROUP = 16
"""Most neighbouring tokens whose maximum is looked at first."""


class Decoded(NamedTuple):
    """The beams of each request, best first; dead ones last, with score -inf and -1 everywhere."""

    scores: Float32[Tensor, "B K"]
    codes: Int32[Tensor, "B K M"]
    """By codebook."""
    tokens: Int32[Tensor, "B K M"]
    """codebook * D + word, in the order in which they were chosen."""
    categories: Int32[Tensor, "B K M"]
    """What the model expected after each step."""
    considered: Int32[Tensor, " B"]
    """Candidates that were checked for consistency."""
    pruned: Int32[Tensor, " B"]
    """Those of them that were dropped."""


class Search(NamedTuple):
    """How to search."""

    beams: int
    """K"""
    over: int = 2
    """Candidates looked at, as a multiple of K."""
    catalogue: Catalogue | None = None
    """Its partial sets, where it has them, say which tokens can be chosen."""


def check_steps(codebooks: int) -> tuple[int, ...]:
    """Number of tokens after which paths are checked: all but one; for 8 codebooks also at half."""
    return tuple(sorted({codebooks - 1} | ({codebooks // 2} if codebooks >= 8 else set())))


def required(theta: Float[Tensor, " B"], step: int) -> Int32[Tensor, " B"]:
    """Agreement that paths of `step` tokens must have at a check: ceil(theta (step - 1) - slack)."""
    share = torch.where(theta > 0, theta, 0.0).clamp(max=1.0)
    return (share * (step - 1) - _SLACK).ceil().clamp(min=0).to(torch.int32)


def decode(generator: Generator, encoded: Encoded, theta: Float[Tensor, " B"], search: Search) -> Decoded:
    """The best sets of tokens for each request. theta 0 is plain beam search."""
    sizes, newest = generator.sizes, encoded.newest
    directions, table = generator.directions(), generator.category_table()
    rule = Rule(window=search.over * search.beams, codebook_size=sizes.words)
    beams = _empty(newest, search.beams, sizes.codebooks)
    considered = pruned = torch.zeros_like(beams.match[:, 0])
    x, past, history = generator.decoder.first(newest), (), None
    for step in range(sizes.codebooks):
        outputs, past = generator.decoder.step(x, step, past, encoded.memory)
        logits = generator.confidence(outputs, directions)  # (B, A, M, D)
        paths = Beams(*(part[:, : x.shape[1]] for part in beams))
        possible = possible_tokens(paths.codes, sizes.words, search.catalogue)
        scores, tokens = best_extensions(paths.scores.float(), step_log_probs(logits, possible), rule.window)
        categories = _categories(generator.category_of_state(outputs), table, tokens)
        checked = step + 1 in check_steps(sizes.codebooks)
        need = required(theta, step + 1) if checked else torch.zeros_like(considered)
        chosen = consistency_pruning(Candidates(scores, tokens.to(torch.int32), categories), beams, need, rule)
        if checked:
            considered = considered + (scores > -torch.inf).sum(1, dtype=torch.int32)
            pruned = pruned + chosen.disagreeing
        beams, parents = chosen.beams, chosen.parents.clamp(min=0)
        newly = torch.stack((chosen.tokens, beams.last[:, :, 0]), -1).unsqueeze(2)
        history = newly if history is None else torch.cat((rows_of_each(history, parents), newly), 2)
        if step + 1 < sizes.codebooks:
            past, x = reordered(past, parents), generator.embedded(chosen.tokens.clamp(min=0).long())
    assert history is not None
    live = (beams.scores > -torch.inf).unsqueeze(2)
    tokens, categories = (torch.where(live, part, -1) for part in history.unbind(3))
    return Decoded(beams.scores, beams.codes, tokens, categories, considered, pruned)


def _empty(newest: Tensor, slots: int, codebooks: int) -> Beams:
    """`initial_beams` on the device of `newest` [B, 1, d]."""
    batch, device = newest.shape[0], newest.device
    first = torch.arange(slots, device=device) == 0
    return Beams(
        scores=torch.where(first, 0.0, -torch.inf).float().expand(batch, -1).contiguous(),
        codes=torch.full((batch, slots, codebooks), -1, dtype=torch.int32, device=device),
        last=torch.full((batch, slots, 1), -1, dtype=torch.int32, device=device),
        match=torch.zeros((batch, slots), dtype=torch.int32, device=device),
    )


def step_log_probs(logits: Float[Tensor, "*n M D"], possible: Bool[Tensor, "*n M D"]) -> Float[Tensor, "*n MD"]:
    """CRSS's log-probabilities, float32: one softmax over all tokens that are possible; NaN where none is.

    As `crss_log_probs` of masked logits, in fewer passes. What comes in fp64 is rounded last.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.where(possible, wide, -torch.inf).flatten(-2).log_softmax(-1).float()


def best_extensions(
    scores: Float[Tensor, "B A"], log_probs: Float[Tensor, "B A N"], window: int
) -> tuple[Float[Tensor, "B W"], Int64[Tensor, "B W"]]:
    """`crss_candidates` of paths with these scores, ties included, without sorting all their N tokens: first the best
    groups of neighbours, then in them.

    A token among the best `window` is in one of the `window` best groups by (maximum descending, place ascending): the
    maximum of a group that comes before its own comes before the token.
    """
    size = max(size for size in range(1, _GROUP + 1) if log_probs.shape[2] % size == 0)
    groups = log_probs.unflatten(2, (-1, size))  # (B, A, N / size, size)
    per_path = groups.shape[2]
    _, chosen = best_places((scores.unsqueeze(2) + groups.amax(-1)).flatten(1), window)
    inside = rows_of_each(groups.flatten(1, 2), chosen)
    own = scores.gather(1, _share(chosen, per_path)).unsqueeze(2)
    found, place = best_places((own + inside).flatten(1), window)
    return found, chosen.gather(1, _share(place, size)) * size + place % size


def _share(numbers: Int64[Tensor, "*n"], size: int) -> Int64[Tensor, "*n"]:
    """numbers // size of numbers that are not negative, which is one ONNX node where that of others is eight."""
    return torch.div(numbers, size, rounding_mode="trunc")


def _categories(
    states: Float[Tensor, "B A C"], table: Float[Tensor, "MD C"], tokens: Int64[Tensor, "B W"]
) -> Int32[Tensor, "B W 1"]:
    """The category that the model expects after each candidate; the lowest id where several are likeliest."""
    words = table.shape[0]
    logits = rows_of_each(states, _share(tokens, words)) + rows(table, tokens % words)
    return logits.argmax(-1, keepdim=True).to(torch.int32)
