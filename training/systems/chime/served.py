"""CHIME's served computations: a history to a state, a state and one event to the next state, candidates to scores.

Codes are computed in fp64 whatever the dtype of the rest, as in training. Input vectors of all items, the projectors
among them, are one table; what depends on the candidate alone is one table of the scorer.

Legend: B requests, C candidates packed over them, L places of a history, S of its tail, P levels, K words, R newest, N
items, D width of item and interest vectors, G fields of a profile.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch
from training.layers import ragged
from training.layers.columns import Features
from training.layers.items import known
from training.layers.rows import rows
from training.servable import Packed
from training.systems.chime import attention
from training.systems.chime.adaptation import Behaviours
from training.systems.chime.compressor import exactly, summary
from training.systems.chime.model import CHIME
from training.systems.chime.representation import Block


class Coder(nn.Module):
    """Histories to codes, in fp64."""

    items: Float[Tensor, "N d"]

    def __init__(self, model: CHIME) -> None:
        super().__init__()
        exact = exactly(model.compressor)
        self.config = model.config
        with torch.no_grad():
            self.register_buffer("items", exact.item_inputs())
        for block in exact.decoder.blocks:
            assert isinstance(block, Block)
            block.attention.settle()
        self.compressor = exact

    def forward(self, history: Behaviours, length: Int[Tensor, " B"]) -> Float[Tensor, "B L I"]:
        """Interests."""
        return self.compressor.interests(self.items, history, length)


class Plain(nn.Module):
    """The model as it ranks from histories, in a form that can be exported."""

    def __init__(self, model: CHIME) -> None:
        super().__init__()
        # The model first: its parameters say in which dtype a request's numbers come.
        self.model, self.coder = model, Coder(model)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        history = Behaviours(batch.history_items, batch.history_values, batch.history_ages)
        interests = self.coder(history.wide(self.model.config.recent), batch.history_length)
        codes = self.coder.compressor.codes(interests)
        return self.model.logits(batch, summary(codes, interests[:, 0], batch.history_length, self.model.config))


class Encoder(nn.Module):
    """History and profile to the state: counts, newest codes, the profile's vector, the stamp."""

    stamp: Tensor

    def __init__(self, model: CHIME, stamp: int) -> None:
        super().__init__()
        self.coder, self.profile, self.recent = Coder(model), model.tables.profile, model.config.recent
        self.register_buffer("stamp", torch.tensor(stamp))

    def forward(
        self,
        history_items: Int[Tensor, "B L"],
        history_values: Int[Tensor, "B L"],
        history_ages: Int[Tensor, "B L"],
        history_length: Int[Tensor, "B 1"],
        *profile: Int[Tensor, "B G"],
    ) -> Packed:
        """`profile`: one tensor, or none where the data set has no fields for it."""
        length = history_length[:, 0]
        history = Behaviours(history_items, history_values, history_ages).wide(self.recent)
        interests = self.coder(history, length)
        kept = summary(self.coder.compressor.codes(interests), interests[:, 0], length, self.coder.config)
        ids = profile[0] if profile else history_items[:, :0]
        nothing = self.profile.rows.weight.new_zeros(history_items.shape[0], 0)
        vector = self.profile(Features(ids, nothing, history_items[:, :0]))
        # A length that cannot be is answered with NaN, never with a plausible score.
        possible = (length >= 0) & (length <= history_items.shape[1])
        vector = torch.where(possible[:, None], vector, torch.nan)
        return kept.counts, kept.recent, vector, self.stamp.expand(history_items.shape[0], 1)


class Observer(nn.Module):
    """The state before the newest event, and the tail of the history with it, to the state after it."""

    def __init__(self, model: CHIME) -> None:
        super().__init__()
        self.coder = Coder(model)

    def forward(  # noqa: PLR0913 - the graph's inputs
        self,
        history_items: Int[Tensor, "B S"],
        history_values: Int[Tensor, "B S"],
        history_ages: Int[Tensor, "B S"],
        history_length: Int[Tensor, "B 1"],
        before_counts: Int[Tensor, "B P K"],
        before_recent: Int[Tensor, "B R P"],
        before_profile_vector: Float[Tensor, "B D"],
        before_stamp: Int[Tensor, "B 1"],
    ) -> Packed:
        length = history_length[:, 0]
        interests = self.coder(Behaviours(history_items, history_values, history_ages), length)[:, :1]
        code = self.coder.compressor.codes(interests)  # (B, 1, P)
        added = attention.histogram(code, history_length > 0, before_counts.shape[2])
        recent = torch.cat((code.to(torch.int32), before_recent[:, :-1]), 1)
        possible = (length > 0) & (length <= history_items.shape[1])
        vector = torch.where(possible[:, None], before_profile_vector, torch.nan)
        return before_counts + added, recent, vector, before_stamp


class Scorer(nn.Module):
    """Packed candidates and the users' states to click probabilities."""

    table: Tensor
    keys: Tensor
    values: Tensor
    stamp: Tensor

    def __init__(self, model: CHIME, stamp: int) -> None:
        super().__init__()
        self.num_items = model.tables.num_items
        self.tower, self.mix = model.tower, model.reader.mix
        with torch.no_grad():
            items = model.tables.items()
            parts = (items, model.reader.query(items), model.tower.of_target(items))
            keys, values = model.reader.tables(model.compressor.words)
        self.widths = [part.shape[1] for part in parts]
        self.register_buffer("table", torch.cat(parts, dim=1))
        self.register_buffer("keys", keys)
        self.register_buffer("values", values)
        self.register_buffer("stamp", torch.tensor(stamp))

    def forward(
        self,
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        counts: Int[Tensor, "B P K"],
        recent: Int[Tensor, "B R P"],
        profile_vector: Float[Tensor, "B D"],
        stamp: Int[Tensor, "B 1"],
    ) -> Packed:
        """Probabilities [C]; NaN, never a plausible score, for a negative id and a state of another model."""
        # One candidate more, dropped at the end: ORT divides by zero where a batch has none at all.
        ids = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, ids.shape[0])
        target, query, first = nn.functional.embedding(known(ids, self.num_items), self.table).split(self.widths, dim=1)
        interest = self.interest(query, request, counts, attention.recent_histogram(recent, counts.shape[2]))
        logits = self.tower.finish(interest, target, first + rows(self.tower.of_profile(profile_vector), request))
        valid = (ids >= 0) & (rows(stamp, request) == self.stamp)[:, 0]
        return (torch.where(valid, torch.sigmoid(logits), torch.nan)[:-1],)

    def interest(
        self,
        query: Float[Tensor, "C D"],
        request: Int[Tensor, " C"],
        counts: Int[Tensor, "B P K"],
        recent: Int[Tensor, "B P K"],
    ) -> Float[Tensor, "C D"]:
        """As `Reader` in training; what no candidate changes is worked out once for each request."""
        width = self.values.shape[0] * self.values.shape[2]
        number = torch.log1p(counts[:, 0].sum(1, keepdim=True).to(query.dtype))
        still = torch.cat((attention.mean(counts, self.values), number), 1)
        mixed = still @ self.mix.weight[:, 2 * width :].T + self.mix.bias
        scored = attention.scores(query, self.keys)
        logs = (rows(attention.log_counts(one, query), request) for one in (counts, recent))
        read = [attention.weighted(attention.weights(scored, one), self.values) for one in logs]
        return torch.cat(read, 1) @ self.mix.weight[:, : 2 * width].T + rows(mixed, request)


class Interests(nn.Module):
    """A state to what its words of the first level stand for: how often each is there, in all and of late, how much of
    the attention of an item it gets, and the items nearest to it."""

    nearest: Int[Tensor, "K M"]

    def __init__(self, model: CHIME, most: int) -> None:
        super().__init__()
        self.num_items = model.tables.num_items
        adaptation = model.compressor.adaptation
        with torch.no_grad():
            items = model.tables.items()
            keys, _ = model.reader.tables(model.compressor.words)
            scores = model.compressor.words[0] @ adaptation.targets(adaptation.parts()).T
            # An item that training hardly met is no name for an interest; a catalogue of such items has no others.
            met = adaptation.items.rows.row_of == torch.arange(self.num_items)
            met[0] = False
            scores[:, ~met if met.sum() >= most else torch.arange(self.num_items) == 0] = -torch.inf
            nearest = scores.topk(most, 1).indices
            self.register_buffer("queries", model.reader.query(items))
        self.register_buffer("keys", keys[:1])
        self.register_buffer("nearest", nearest)

    def forward(self, item: Int[Tensor, "B 1"], counts: Int[Tensor, "B P K"], recent: Int[Tensor, "B R P"]) -> Packed:
        """Weights, counts and newest counts [B, K], items [B, K, M]."""
        query = rows(self.get_buffer("queries"), known(item[:, 0], self.num_items))
        late = attention.recent_histogram(recent, counts.shape[2])[:, 0]
        logs = attention.log_counts(counts[:, :1], query)
        weights = attention.weights(attention.scores(query, self.get_buffer("keys")), logs)[:, 0]
        return weights, counts[:, 0], late, self.nearest.expand(item.shape[0], *self.nearest.shape)
