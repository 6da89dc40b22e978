"""The adaptive margin loss of CSMF, over the items of a batch and what each user refused.

    m_pn = gamma sigmoid((s_up(u, n) - s_up(u, p)) / T)            no gradient
    L = -log e^(s_p/T) / (e^(s_p/T) + sum_n e^((s_n + m_pn)/T))

s_up is the score by the objectives before, whose weights are frozen: the margin is large where they prefer the negative
and small where their order is right already. That there is such a margin across stages is stated, the equation is our
design. So is the correction s/T - log p, p the share of an item in the samples of the stage, which a refused item gets
like any other.

Legend: B samples of a batch, M = B + R negatives of each, its own item at its own place among them.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

_MASKED = -1e9


def margins(
    before: Float[Tensor, "B M"], positive: Float[Tensor, " B"], gamma: float, temperature: float
) -> Float[Tensor, "B M"]:
    """m_pn in (0, gamma), of scores by the objectives before."""
    return gamma * torch.sigmoid((before - positive[:, None]) / temperature).detach()


def cascade_loss(
    scores: Float[Tensor, "B M"],
    items: Int[Tensor, "B M"],
    margin: Float[Tensor, "B M"],
    log_share: Float[Tensor, "B M"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Mean over the samples; the positive of sample i is at place i. Item 0, and one that is the positive itself, is no
    negative."""
    size = len(scores)
    own = torch.eye(size, scores.shape[1], dtype=torch.bool, device=scores.device)
    positive = items.diagonal()[:, None]
    left_out: Bool[Tensor, "B M"] = ((items == positive) & ~own) | (items == 0)
    logits = (scores + margin.masked_fill(own, 0.0)) / temperature - log_share
    return nn.functional.cross_entropy(logits.masked_fill(left_out, _MASKED), torch.arange(size, device=scores.device))
