"""MATT's served scorer: a base model over all paths of all candidates, what they have in common computed once.

What a first layer does with one field depends on that field alone, and a path only chooses between the field's own
vector and its mean. So where it pays the layer is applied once per field, and each path sums what it keeps. Where that
does not pay, paths of a candidate that keep the same fields are computed once (distinct.py).

Legend: B requests, C candidates packed over them, F = Fu + Fi fields, P sampled paths, Q = P + 1, R embedding rows.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, Shaped
from torch import Tensor, nn

from kernels.path_sampling import unpack
from training.data.click import ClickData
from training.layers import ragged
from training.layers.columns import Features
from training.layers.fields import FieldModel
from training.layers.id_tables import IdTables
from training.layers.items import known
from training.layers.users import follows, numbers, user_row
from training.servable import Packed
from training.systems.matt.model import Matt, aggregate, with_full


class Asked(NamedTuple):
    """What a batch of requests asks about."""

    users: Int64[Tensor, "B Fu"]
    """Known ids of the request's fields."""
    items: Int64[Tensor, "C Fi"]
    request: Int64[Tensor, " C"]
    """Whose candidate each one is."""
    user: tuple[Tensor, ...]
    """Who asks: user ids [B, 1], or where requests bring the users' rows these, as `training.layers.users.user_row`."""
    item_rows: Int64[Tensor, " C"]
    """Dense ids, 0 for the unknown."""


class Absorbed(nn.Module):
    """A base model over paths, in a form of its own. Bases for which it pays bring theirs."""

    offsets: Int64[Tensor, " F"]
    """Row 0 of each field in the embedding."""

    def __init__(self, offsets: Int64[Tensor, " F"]) -> None:
        super().__init__()
        self.register_buffer("offsets", offsets)

    def ids(self, asked: Asked) -> Int64[Tensor, "C F"]:
        """Known ids of each candidate's fields."""
        return torch.cat([asked.users.index_select(0, asked.request), asked.items], dim=1)

    def of_fields(self, table: Float[Tensor, "R W"], asked: Asked) -> Float[Tensor, "C F W"]:
        """The rows of each candidate's fields; those of a user are read once per request."""
        num_users = asked.users.shape[1]
        of_users = nn.functional.embedding(asked.users + self.offsets[:num_users], table)
        of_items = nn.functional.embedding(asked.items + self.offsets[num_users:], table)
        return torch.cat([of_users.index_select(0, asked.request), of_items], dim=1)

    def logits(self, asked: Asked, masks: Int64[Tensor, "C Q"]) -> Float[Tensor, "C Q"]:
        """Logits of every path; in the mask of one, the bit of each field that it keeps."""
        raise NotImplementedError


class PlainPaths(Absorbed):
    """Any base model over paths: one forward for each.

    How many are distinct follows from values, and not every base can be exported with such a size.
    """

    def __init__(self, base: FieldModel, data: ClickData) -> None:
        super().__init__(base.embedding.offsets)
        self.base = base
        self.given = tuple(user_row(data).arrays()) if follows(data.features.layout) else ()
        # What the rows of requests lack has no columns: one row stands for that of any user.
        users = data.features.users.rows(np.zeros(1, np.int64)) if self.given else data.features.users
        for side, table in (("user", users), ("item", data.features.items)):
            self.register_buffer(f"{side}_dense", torch.from_numpy(table.dense))
            self.register_buffer(f"{side}_sets", torch.from_numpy(table.sets))

    def logits(self, asked: Asked, masks: Int64[Tensor, "C Q"]) -> Float[Tensor, "C Q"]:
        count = masks.shape[1]
        x = Features(*(part.repeat_interleave(count, dim=0) for part in self.features(asked)))
        return self.base.logits(x, unpack(masks.flatten(), len(self.offsets))).unflatten(0, (-1, count))

    def features(self, asked: Asked) -> Features:
        """The fields of each candidate."""
        dense, sets = (
            torch.cat(
                [
                    self.of_users(f"user_{kind}", asked).index_select(0, asked.request),
                    self.get_buffer(f"item_{kind}").index_select(0, asked.item_rows),
                ],
                dim=1,
            )
            for kind in ("dense", "sets")
        )
        return Features(self.ids(asked), dense, sets)

    def of_users(self, name: str, asked: Asked) -> Shaped[Tensor, "B W"]:
        """Numbers or sets of the users who ask."""
        if name in self.given:
            return numbers(asked.user[self.given.index(name)])
        table, ids = self.get_buffer(name), asked.user[0][:, 0]
        return table.index_select(0, torch.zeros_like(ids) if self.given else known(ids, table.shape[0]))


class Scorer(nn.Module):
    """Users, packed candidates and their paths in; probabilities, spreads and each path's probability out."""

    def __init__(self, absorbed: Absorbed, ids: IdTables, matt: Matt) -> None:
        super().__init__()
        self.absorbed, self.ids = absorbed, ids
        self.num_fields, self.paths, self.decided = matt.num_fields, matt.config.paths, matt.decided

    def forward(self, *tensors: Tensor) -> Packed:
        """Probabilities [C], spreads [C], and the paths' probabilities [C * Q], the full path's first.

        Takes who asks (`Asked.user`), candidates [C] and their ends [B], masks [C * P] and their ends, weights [C * Q]
        and their ends. NaN, never a plausible score, for a negative item id and for a request with too few or many
        masks or weights.
        """
        *user, candidates, candidate_offsets, masks, mask_offsets, weights, weight_offsets = tensors
        count = weights.shape[0]
        # One candidate more, dropped at the end: ORT divides by zero where a batch has none at all.
        candidates = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, candidates.shape[0])
        of_paths, fits_masks = per_candidate(masks, (candidate_offsets, mask_offsets), request, self.paths)
        shares, fits_weights = per_candidate(weights, (candidate_offsets, weight_offsets), request, self.paths + 1)
        users, items = self.ids(user[0], candidates)
        asked = Asked(users, items, request, tuple(user), known(candidates, self.ids.items.shape[0]))
        logits = self.absorbed.logits(asked, with_full(of_paths, self.num_fields))
        probability, spread = aggregate(logits, shares, self.decided)
        fits = (fits_masks & fits_weights).index_select(0, request) & (candidates >= 0)
        answers = torch.cat([probability[:, None], spread[:, None], torch.sigmoid(logits)], dim=1)
        probability, spread, scores = torch.where(fits[:, None], answers, torch.nan).split((1, 1, self.paths + 1), 1)
        each = torch.arange(count, device=weights.device)
        return probability[:-1, 0], spread[:-1, 0], scores.flatten().index_select(0, each)


def per_candidate(
    values: Shaped[Tensor, " CN"], ends: tuple[Tensor, Tensor], request: Int[Tensor, " C"], each: int
) -> tuple[Shaped[Tensor, "C N"], Bool[Tensor, " B"]]:
    """N = `each` values for every candidate, and which requests have as many values as they must.

    `ends` are the accumulated counts of candidates and of values. Read by index, for a graph in which the lengths of
    the two packed axes depend on each other cannot be exported.
    """
    of_candidates, of_values = (one.long() for one in ends)
    fits = torch.diff(of_values, prepend=of_values.new_zeros(1)) == each * torch.diff(
        of_candidates, prepend=of_candidates.new_zeros(1)
    )
    first = of_values - each * of_candidates
    # Of the request before. Not first[:-1], of which torch.export would want at least two rows.
    shift = torch.cat([first.new_zeros(1), first]).index_select(0, request)
    number = torch.arange(request.shape[0], device=request.device)
    places = shift[:, None] + each * number[:, None] + torch.arange(each, device=request.device)
    padded = torch.cat([values, values.new_zeros(1)])
    last = torch.full_like(places, values.shape[0])
    return padded[torch.where((places >= 0) & (places < last), places, last)], fits
