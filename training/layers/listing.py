"""The best items after a history: out of the scores of all items, or out of some that a search found.

Order: score descending, item ascending, also where the list is cut off, whatever a device's topk does with equal
scores. Items of the history and item 0 are left out; NaN counts as -inf.

Legend: B requests, N items, L history, M found items, top places of a list.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from training.layers.items import known


class Best(NamedTuple):
    """The best items of each request, best first."""

    items: Int64[Tensor, "B top"]
    """0 where there are no more."""
    scores: Float[Tensor, "B top"]
    """-inf where there are no more."""


def best_of_all(scores: Float[Tensor, "B N+1"], history: Int64[Tensor, "B L"], top: int) -> Best:
    """Of a score for every item, by id; ids of the history that are no item leave out nothing."""
    size = scores.shape[1]
    seen = functional.pad(known(history, size), (0, 1))
    listed = torch.where(scores.isnan(), -torch.inf, scores).scatter(1, seen, -torch.inf)
    places = min(top, size)
    edge = listed.topk(places).values[:, -1:]
    above, equal = listed > edge, listed == edge
    chosen = above | (equal & (equal.cumsum(1) <= places - above.sum(1, keepdim=True)))
    backwards = torch.arange(size, 0, -1, device=scores.device)
    items = torch.where(chosen, backwards, 0).topk(places).indices
    return _filled(*_sorted(items, listed.gather(1, items)), top)


def best_of_found(
    items: Int64[Tensor, "B M"], scores: Float[Tensor, "B M"], history: Int64[Tensor, "B L"], top: int
) -> Best:
    """Of items that were found, each once, and their scores; 0 and a score of -inf are no item."""
    wanted = (items > 0) & ~(items.unsqueeze(2) == history.unsqueeze(1)).any(2) & (scores > -torch.inf)
    scores, (items, order) = torch.where(wanted, scores, -torch.inf), items.sort(dim=1)
    return _filled(*_sorted(items, scores.gather(1, order)), top)


def _sorted(items: Int64[Tensor, "B M"], scores: Float[Tensor, "B M"]) -> tuple[Tensor, Tensor]:
    """Items, ascending before, and their scores by score; of equal ones the first stays first."""
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    return torch.where(scores > -torch.inf, items.gather(1, order), 0), scores


def _filled(items: Int64[Tensor, "B M"], scores: Float[Tensor, "B M"], top: int) -> Best:
    missing = max(0, top - items.shape[1])
    filled = functional.pad(items, (0, missing)), functional.pad(scores, (0, missing), value=-torch.inf)
    return Best(*(part[:, :top] for part in filled))
