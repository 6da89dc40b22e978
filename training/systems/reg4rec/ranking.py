"""From beams to a ranked list of items (our design): equal sets merge, sets become items, what was seen is left out.

Legend: B requests, K beams, G longest list of items that share a tuple, L history, top items asked for.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from training.systems.reg4rec.catalogue import Catalogue
from training.systems.reg4rec.decode import Decoded


class Ranked(NamedTuple):
    """The best items of each request, best first.

    Order: score descending; among equal scores the set whose most popular item has the lowest id; within a set the more
    popular item, then the lower id.
    """

    items: Int64[Tensor, "B top"]
    """0 where there are no more."""
    scores: Float32[Tensor, "B top"]
    """-inf where there are no more."""
    beams: Int64[Tensor, "B top"]
    """The best path that led to the item; -1 where there are no more."""


def ranked(
    decoded: Decoded,
    catalogue: Catalogue,
    history: Int64[Tensor, "B L"],
    top: int,
    merge: Literal["logsumexp", "max"] = "logsumexp",
) -> Ranked:
    """Items of the complete sets, without those of the history. A set that is no item is dropped."""
    tuples = catalogue.tuple_of(decoded.codes)
    alive = (decoded.scores > -torch.inf) & (tuples >= 0)
    scores, first = merged(torch.where(alive, decoded.scores, -torch.inf), tuples, merge)
    found = torch.where(first, tuples, -1)
    order = _order(scores, first, catalogue.items_of(found)[:, :, 0])
    items = catalogue.items_of(found.gather(1, order)).flatten(1)  # (B, K * G)
    wanted = (items > 0) & ~(items.unsqueeze(2) == history.unsqueeze(1)).any(2)
    place = _first(wanted, top)
    there = place < items.shape[1]
    place = place.clamp(max=items.shape[1] - 1)
    slot = place // catalogue.longest
    return Ranked(
        torch.where(there, items.gather(1, place), 0),
        torch.where(there, scores.gather(1, order).gather(1, slot), -torch.inf),
        torch.where(there, order.gather(1, slot), -1),
    )


def merged(
    scores: Float[Tensor, "B K"], tuples: Int64[Tensor, "B K"], merge: Literal["logsumexp", "max"]
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Scores of the sets, and which beam stands for each: the first one that is alive.

    Beams of one set are reached in other orders; "logsumexp" adds their probabilities.
    """
    slots = torch.arange(scores.shape[1], device=scores.device)
    alive = scores > -torch.inf
    same = (tuples.unsqueeze(2) == tuples.unsqueeze(1)) & alive.unsqueeze(2) & alive.unsqueeze(1)
    first = alive & ~(same & (slots < slots[:, None])).any(2)
    group = torch.where(same, scores.unsqueeze(1), -torch.inf)
    best = group.amax(2)
    if merge == "max":
        return torch.where(first, best, -torch.inf), first
    offset = torch.where(alive, best, 0.0)
    total = offset + (group - offset.unsqueeze(2)).exp().sum(2).log()
    return torch.where(first, total, -torch.inf), first


def _order(
    scores: Float[Tensor, "B K"], first: Int[Tensor, "B K"], leading: Int64[Tensor, "B K"]
) -> Int64[Tensor, "B K"]:
    """Beams by (score descending, leading item ascending), those that stand for no set last, as they were.

    By counting which ones come before: integers without ties, whatever a device's sort does with equal floats.
    """
    slots = torch.arange(scores.shape[1], device=scores.device)
    mine, other = scores.unsqueeze(2), scores.unsqueeze(1)
    both = first.unsqueeze(2) & first.unsqueeze(1)
    # Not torch.where, which ONNX Runtime does not have for two bools.
    earlier = (both & (leading.unsqueeze(1) < leading.unsqueeze(2))) | (~both & (slots < slots[:, None]))
    before = (other > mine) | ((other == mine) & earlier)
    return before.sum(2).sort(1).indices


def _first(wanted: Int[Tensor, "B n"], top: int) -> Int64[Tensor, "B top"]:
    """Places of the first `top` wanted entries, ascending, then n and more."""
    count = wanted.shape[1]
    places = torch.arange(count, device=wanted.device)
    keys = torch.where(wanted, places, places + count)
    missing = max(0, top - count)
    keys = torch.nn.functional.pad(keys, (0, missing), value=2 * count)
    return keys.topk(top, largest=False, sorted=True).values
