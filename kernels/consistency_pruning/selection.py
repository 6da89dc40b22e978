"""CRSS, confidence-based selection of the next codebook: from logits to candidates (our design, after REG4Rec).

Plain PyTorch that runs everywhere and exports to ONNX. The logarithms are ordinary floating point; which candidates
win is decided by comparisons and integers.
"""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from kernels.consistency_pruning.state import Beams


def crss_log_probs(
    logits: Float[Tensor, "B K M D"], codes: Int[Tensor, "B K M"], per_codebook: bool = False
) -> Float[Tensor, "B K M D"]:
    """Log-probabilities of the tokens of the codebooks that a path has not used, -inf for the others.

    One softmax over the union of these tokens; with `per_codebook` one inside each codebook.
    """
    used = (codes >= 0).unsqueeze(-1)
    masked = logits.float().masked_fill(used, -torch.inf)
    normaliser = masked.logsumexp(-1, keepdim=True) if per_codebook else masked.logsumexp((-2, -1), keepdim=True)
    return torch.where(used, -torch.inf, masked - normaliser)


def crss_candidates(
    beams: Beams, log_probs: Float[Tensor, "B K M D"], window: int
) -> tuple[Float[Tensor, "B W"], Int[Tensor, "B W"]]:
    """Scores and tokens of the `window` best extensions of each request, in the order of their tokens.

    Order: score descending, token ascending, also at the edge of the window, whatever the rule of the device's topk
    for equal scores. NaN counts as -inf.
    """
    scores, tokens = best_places((beams.scores.float()[:, :, None, None] + log_probs).flatten(1), window)
    return scores, tokens.to(torch.int32)


def best_places(scores: Float[Tensor, "B N"], window: int) -> tuple[Float[Tensor, "B W"], Int64[Tensor, "B W"]]:
    """The `window` best scores of each request and where they are, by place; the rule of `crss_candidates`."""
    scores = torch.where(scores.isnan(), -torch.inf, scores)
    window = min(window, scores.shape[1])
    edge = scores.topk(window).values[:, -1:]
    above, equal = scores > edge, scores == edge
    room = window - above.sum(1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(1) <= room))
    downwards = torch.arange(scores.shape[1], 0, -1, device=scores.device)
    places = torch.where(chosen, downwards, 0).topk(window).indices
    return scores.gather(1, places), places
