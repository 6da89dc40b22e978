"""LREA's served computations: the user's side once per change of the history, the candidates' side per request.

What depends on the user alone is folded into the user's state, the first layer's share of the profile too, and in ONNX
once more in each run: with M of eq. (7) a candidate T goes into the first layer as T (M W_O + W_T) + (ub W_O + share),
so that all it needs is its own vector. The program of the kernel form attends to the state as it is stored.

Legend: B requests, C candidates packed over them, L longest history, H heads, D width, E and V widths of a head, K
hidden units.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.low_rank_attention import absorbed_attention, low_rank_attention
from training.layers import ragged
from training.layers.columns import Features
from training.layers.items import known
from training.servable import Packed
from training.systems.lrea import attention
from training.systems.lrea.model import LREA


class UserEncoder(nn.Module):
    """History and user fields -> the user's state, eqs. (5) and (7)."""

    behaviours: Tensor
    stamp: Tensor

    def __init__(self, model: LREA, stamp: int) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            self.register_buffer("behaviours", model.tables.behaviours(model.tables.items()))
        self.register_buffer("stamp", torch.tensor(stamp))

    def history(
        self, items: Int[Tensor, "B L"], values: Int[Tensor, "B L"], length: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B L"]]:
        """Behaviour vectors (unknown items and values take the out-of-vocabulary row) and the prefix mask."""
        tables = self.model.tables
        rows = tables.behaviours.index(items, values, tables.num_items)
        events = nn.functional.embedding(rows, self.behaviours)
        return events, attention.prefix_mask(length, items.shape[1]).to(events.dtype)

    def forward(
        self,
        history_items: Int[Tensor, "B L"],
        history_values: Int[Tensor, "B L"],
        history_length: Int[Tensor, "B 1"],
        *profile: Int[Tensor, "B P"],
    ) -> Packed:
        """`profile`: one tensor, or none where the data set has no fields for it."""
        length = history_length[:, 0]
        events, mask = self.history(history_items, history_values, length)
        state = self.model.absorb(events, mask, length)
        # A length that cannot be is answered with NaN, never with a plausible score.
        possible = (length >= 0) & (length <= history_items.shape[1])
        bias = torch.where(possible[:, None], state.bias, torch.nan)
        ids = profile[0] if profile else history_items[:, :0]
        nothing = events[:, 0, :0]
        share = self.model.tower.of_profile(self.model.tables.profile(Features(ids, nothing, history_items[:, :0])))
        stamp = self.stamp.expand(history_items.shape[0], 1)
        if self.model.config.layout == "absorbed":
            return attention.absorb_fully(state, self.model.query.weight.T), bias, share, stamp
        return state.keys, state.values, bias, share, stamp


class Scorer(nn.Module):
    """Packed candidates and the users' states -> scores; the layouts differ in the state that they attend to."""

    items: Tensor
    stamp: Tensor

    def __init__(self, model: LREA, stamp: int) -> None:
        super().__init__()
        self.heads = model.config.heads
        self.num_items = model.tables.num_items
        self.query, self.tower = model.query, model.tower
        with torch.no_grad():
            self.register_buffer("items", model.tables.items())
        self.register_buffer("stamp", torch.tensor(stamp))

    def interest(
        self, target: Float[Tensor, "C D"], ends: Int[Tensor, " B"], state: tuple[Tensor, ...]
    ) -> Float[Tensor, "C HV"]:
        """What its user's history says of each candidate; candidates beyond the last end are the last user's."""
        raise NotImplementedError

    def product(self, state: tuple[Tensor, ...]) -> Float[Tensor, "B D HV"]:
        """M of eq. (7)."""
        raise NotImplementedError

    def score(
        self,
        candidates: Int[Tensor, " C"],
        ends: Int[Tensor, " B"],
        state: tuple[Tensor, ...],
        profile_share: Float[Tensor, "B K"],
        stamp: Int[Tensor, "B 1"],
    ) -> Packed:
        """Click probabilities [C]; NaN, never a plausible score, for a negative id and a state of another model."""
        # One candidate more, dropped at the end: ORT divides by zero where a batch has none at all.
        ids = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(ends, ids.shape[0])
        target = nn.functional.embedding(known(ids, self.num_items), self.items)
        if torch.onnx.is_in_onnx_export():
            interest, first = self._folded(target, ends, state, profile_share)
            logits = self.tower.rest(first + self.tower.of_product(interest * target))
        else:
            first = self.tower.of_target(target) + profile_share.index_select(0, request)
            logits = self.tower.finish(self.interest(target, ends, state), target, first)
        valid = (ids >= 0) & (stamp == self.stamp)[:, 0].index_select(0, request)
        return (torch.where(valid, torch.sigmoid(logits), torch.nan)[:-1],)

    def _folded(
        self,
        target: Float[Tensor, "C D"],
        ends: Int[Tensor, " B"],
        state: tuple[Tensor, ...],
        profile_share: Float[Tensor, "B K"],
    ) -> tuple[Float[Tensor, "C HV"], Float[Tensor, "C K"]]:
        """The interest, and the first layer's share of interest, target and profile, by two products with matrices of
        the candidate's user."""
        product, bias = self.product(state), state[-1]
        into_first = self.tower.of_interest(product) + self.tower.of_target.weight.T  # (B, D, K)
        share = self.tower.of_interest(bias) + profile_share
        return absorbed_attention(target, ends, product, bias), absorbed_attention(target, ends, into_first, share)


class FactoredScorer(Scorer):
    """Eq. (6): the state holds Kc and Vc."""

    def interest(
        self, target: Float[Tensor, "C D"], ends: Int[Tensor, " B"], state: tuple[Tensor, ...]
    ) -> Float[Tensor, "C HV"]:
        keys, values, bias = state
        return low_rank_attention(self.query(target).unflatten(1, (self.heads, -1)), ends, keys, values, bias)

    def product(self, state: tuple[Tensor, ...]) -> Float[Tensor, "B D HV"]:
        return attention.absorb_fully(attention.Absorbed(*state), self.query.weight.T)

    def forward(  # noqa: PLR0913 - the graph's inputs
        self,
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        keys: Float[Tensor, "B H R E"],
        values: Float[Tensor, "B H R V"],
        bias: Float[Tensor, "B HV"],
        profile_share: Float[Tensor, "B K"],
        stamp: Int[Tensor, "B 1"],
    ) -> Packed:
        return self.score(candidates, candidate_offsets, (keys, values, bias), profile_share, stamp)


class AbsorbedScorer(Scorer):
    """Eq. (7): the state holds M."""

    def interest(
        self, target: Float[Tensor, "C D"], ends: Int[Tensor, " B"], state: tuple[Tensor, ...]
    ) -> Float[Tensor, "C HV"]:
        product, bias = state
        return absorbed_attention(target, ends, product, bias)

    def product(self, state: tuple[Tensor, ...]) -> Float[Tensor, "B D HV"]:
        return state[0]

    def forward(
        self,
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        product: Float[Tensor, "B D HV"],
        bias: Float[Tensor, "B HV"],
        profile_share: Float[Tensor, "B K"],
        stamp: Int[Tensor, "B 1"],
    ) -> Packed:
        return self.score(candidates, candidate_offsets, (product, bias), profile_share, stamp)


SCORERS: dict[str, type[Scorer]] = {"factored": FactoredScorer, "absorbed": AbsorbedScorer}
"""By the configuration's layout."""
