"""CHIME's trained module: the ranker that reads histograms, with the compressor that makes them.

Legend: B batch, L places of a history, P levels, K words, R newest, D width of item and interest vectors.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickData
from training.layers.columns import Features
from training.layers.items import known
from training.layers.ranker import HistoryModel, Tower
from training.schema import Schema
from training.systems.chime import attention
from training.systems.chime.adaptation import Behaviours
from training.systems.chime.compressor import Compressor, Config, Summary, exactly, summary
from training.systems.chime.past import Past


class Reader(nn.Module):
    """Histograms and targets -> interest vectors. Keys and values of a word are its projection and an offset of its
    own, so that words are tuned in the ranker as a copy, and the codes stay what they are."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        shape, own = (config.levels, config.interest, config.dim), (config.levels, config.words, config.dim)
        self.query = nn.Linear(config.dim, config.dim, bias=False)
        self.to_keys, self.to_values = (nn.Parameter(torch.randn(shape) * config.interest**-0.5) for _ in range(2))
        self.own_keys, self.own_values = (nn.Parameter(torch.zeros(own)) for _ in range(2))
        self.mix = nn.Linear(3 * config.levels * config.dim + 1, config.dim)

    def tables(self, words: Float[Tensor, "P K I"]) -> tuple[Float[Tensor, "P K D"], Float[Tensor, "P K D"]]:
        """Keys and values of all words."""
        return words @ self.to_keys + self.own_keys, words @ self.to_values + self.own_values

    def forward(
        self,
        query: Float[Tensor, "B D"],
        tables: tuple[Float[Tensor, "P K D"], Float[Tensor, "P K D"]],
        counts: Int[Tensor, "B P K"],
        recent: Int[Tensor, "B P K"],
    ) -> Float[Tensor, "B D"]:
        """Interests that answer the queries: attention to both histograms, the mean behaviour, and how many there
        are."""
        keys, values = tables
        number = torch.log1p(counts[:, 0].sum(1, keepdim=True).to(query.dtype))
        scored = attention.scores(query, keys)
        shares = (attention.weights(scored, attention.log_counts(one, query)) for one in (counts, recent))
        read = [attention.weighted(one, values) for one in shares]
        return self.mix(torch.cat((*read, attention.mean(counts, values), number), 1))


class CHIME(HistoryModel):
    """Attention over the codes of a compressed history, in front of the shared final network."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.config = config
        self.compressor = Compressor(config, schema)
        # Words follow the behaviours' means, and events have vectors of the compressor: no gradient moves either.
        self.compressor.levels.requires_grad_(False)
        self.tables.behaviours.requires_grad_(False)
        self.reader = Reader(config)
        self.tower = Tower(config.dim, config.hidden, config.dropout)
        self.past: Past | None = None
        """Of the data that it was prepared for."""

    def prepare(self, data: ClickData) -> None:
        super().prepare(data)
        self.compressor.prepare(data)
        self.past = Past(data.source)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        return self.logits(batch, self.compressed(batch))

    def logits(self, batch: ClickBatch, kept: Summary) -> Float[Tensor, " B"]:
        """Of samples whose histories are compressed; a gradient reaches all but the compressor."""
        items = self.tables.items()
        target = nn.functional.embedding(known(batch.item, self.tables.num_items), items)
        profile = self.tables.profile(Features(batch.profile, batch.profile_dense, batch.profile_sets))
        recent = attention.recent_histogram(kept.recent, self.config.words)
        tables = self.reader.tables(self.compressor.words.detach())
        return self.tower(self.reader(self.reader.query(target), tables, kept.counts, recent), target, profile)

    @torch.no_grad()
    def compressed(self, batch: ClickBatch) -> Summary:
        """Of the batch's histories, from the histories themselves."""
        config, exact = self.config, exactly(self.compressor)
        history = Behaviours(batch.history_items, batch.history_values, batch.history_ages).wide(config.recent)
        interests = exact.interests(exact.item_inputs(), history, batch.history_length)
        return summary(exact.codes(interests), interests[:, 0].float(), batch.history_length, config)

    @torch.no_grad()
    def remembered(self, batch: ClickBatch, past: Past | None = None) -> Summary:
        """The same, from what is known of the data that it was prepared for, or of those of `past`."""
        past = past or self.past
        if past is None:
            return self.compressed(batch)
        known = past.has(batch)
        if known.all():
            return past.summary(self.compressor, batch)
        if not known.any():
            return past.of_cut(self.compressor, batch, self.compressed)
        rows = torch.argsort(known.long(), stable=True)
        cut, whole = (ClickBatch(*(part[where] for part in batch)) for where in (~known, known))
        parts = zip(
            past.of_cut(self.compressor, cut, self.compressed), past.summary(self.compressor, whole), strict=True
        )
        return Summary(*(torch.cat(pair)[rows.argsort()] for pair in parts))
