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
    seen = functional.pad(known(history, scores.shape[1]), (0, 1))
    listed = scores.masked_fill(scores.isnan(), -torch.inf).scatter(1, seen, -torch.inf)
    place = best_places(listed, top)
    return _filled(place, listed.gather(1, place), top)


def best_of_found(
    items: Int64[Tensor, "B M"], scores: Float[Tensor, "B M"], history: Int64[Tensor, "B L"], top: int
) -> Best:
    """Of items that were found, each once, and their scores; 0 and a score of -inf or NaN are no item."""
    wanted = (items > 0) & ~(items.unsqueeze(2) == history.unsqueeze(1)).any(2) & ~scores.isnan()
    items, order = items.sort(dim=1)
    scores = torch.where(wanted, scores, -torch.inf).gather(1, order)
    place = best_places(scores, top)
    return _filled(items.gather(1, place), scores.gather(1, place), top)


def best_places(scores: Float[Tensor, "B M"], top: int) -> Int64[Tensor, "B T"]:
    """Places of the T = min(top, M) best scores, best first; of equal ones the lower place.

    In a graph by counting which ones come before, as neither topk nor what ONNX has of sort keeps the order of equal
    scores in every runtime. In this process only rows with equal scores are counted: of the others topk says the same
    in a tenth of the time.
    """
    count = min(top, scores.shape[1])
    if torch.compiler.is_compiling():
        return _counted(scores, count)
    found = scores.topk(min(count + 1, scores.shape[1]))
    # The next one after the list, too: were it equal to the last, it could have a lower place.
    equal = (found.values[:, 1:] == found.values[:, :-1]).any(1)
    places = found.indices[:, :count]
    if equal.any():
        places = places.index_put((equal,), _counted(scores[equal], count))
    return places


def _counted(scores: Float[Tensor, "B M"], count: int) -> Int64[Tensor, "B T"]:
    """As `best_places`, whatever scores are equal."""
    size, device = scores.shape[1], scores.device
    edge = scores.topk(count).values[:, -1:]
    above, equal = scores > edge, scores == edge
    chosen = above | (equal & (equal.cumsum(1) <= count - above.sum(1, keepdim=True)))
    ascending = torch.where(chosen, torch.arange(size, 0, -1, device=device), 0).topk(count).indices
    mine = scores.gather(1, ascending)
    slots = torch.arange(count, device=device)
    ahead, same = mine.unsqueeze(1) > mine.unsqueeze(2), mine.unsqueeze(1) == mine.unsqueeze(2)
    before = ahead | (same & (slots < slots[:, None]))
    return ascending.gather(1, before.sum(2).sort(1).indices)


def _filled(items: Int64[Tensor, "B T"], scores: Float[Tensor, "B T"], top: int) -> Best:
    """No item where there is no score, up to the length of the list."""
    missing = max(0, top - items.shape[1])
    items = torch.where(scores > -torch.inf, items, 0)
    return Best(functional.pad(items, (0, missing)), functional.pad(scores, (0, missing), value=-torch.inf))
