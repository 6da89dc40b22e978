"""Contrast within a batch: what belongs together against all that does not.

Legend: B rows of a batch, which are each other's negatives, h width.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def info_nce(
    anchors: Float[Tensor, "B h"],
    candidates: Float[Tensor, "B h"],
    temperature: float,
    hidden: Bool[Tensor, "B B"] | None = None,
) -> Float[Tensor, " B"]:
    """-log softmax over the batch of cosine / temperature, at the anchor's own candidate, which is never `hidden`."""
    logits = functional.normalize(anchors, dim=1) @ functional.normalize(candidates, dim=1).T / temperature
    own = torch.arange(logits.shape[0], device=logits.device)
    if hidden is not None:
        logits = logits.masked_fill(hidden & (own[:, None] != own), -torch.inf)
    return functional.cross_entropy(logits, own, reduction="none")
