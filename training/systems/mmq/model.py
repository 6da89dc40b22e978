"""MMQ's modules: experts, gates, cosine codebooks and decoders, and the small recommender of its second stage.

Legend: B items, P = Ns + Nt + Ng positions (shared, text, second modality), K words, d width, W width of the content,
U items of a batch of histories, L history, V valid places in it, e width of the recommender.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.experts import Experts, squared_error, two_layers, weighted_sum
from training.layers.quantiser import (
    Codebooks,
    Metric,
    Quantised,
    index_straight_through,
    value_straight_through,
    weigh,
)
from training.layers.tokenizer import Tokenizer, Tokens, catalogue_tokens, everything
from training.schema import Schema, size_of, width_of
from training.tasks.semantic_ids import TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class Config(TokenizerConfig):
    """The paper's sizes for public data where they are stated, else ours."""

    epochs: int = 20
    """Passes over the items at most, in the content stage."""
    max_length: int = 50
    """Items of a history in the behaviour-aware stage."""
    shared: int = 2
    """Experts over both modalities."""
    text: int = 2
    """Experts over the text alone."""
    graph: int = 2
    """Experts over the second modality alone."""
    gate_hidden: int = 64
    """Hidden units of each modality's gate."""
    metric: Metric = "cosine"
    """Measure by which a word is the nearest; L2 is for comparison."""
    recon_ste: Literal["index", "value"] = "index"
    """Input of the decoders: words with a gradient to every word (index), or latents in the place of words, as the
    paper prints it, which moves no word (value)."""
    vq_weight: float = 0.3
    """Weight of the terms that pull words and latents together; 0 with recon_ste `value` is the printed form."""
    temperature: float = 0.1
    """Temperature of the softmax behind the index straight-through."""
    recon_weight: float = 12.0
    """Weight of the reconstruction of both modalities, in the content stage."""
    aux_weight: float = 10.0
    """Weight of the reconstruction of each modality from its own experts, in the content stage."""
    orthogonality: float = 0.005
    """Weight of the orthogonality of the experts of a group, in both stages."""
    behaviour_epochs: int = 2
    """Passes over the users in the behaviour-aware stage."""
    behaviour_batch: int = 256
    """Users of its steps."""
    behaviour_rate: float = 2e-3
    """Learning rate of its recommender."""
    tokenizer_rate: float = 0.1
    """The tokenizer's learning rate there, as a share of the recommender's."""
    frozen_share: float = 0.2
    """Share of that stage in which only the recommender learns."""
    behaviour_recon: float = 0.5
    """Weight of both reconstruction losses there."""
    recommender: int = 64
    """e: width of the recommender's embeddings and states."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shared", "text", "graph"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; each group needs at least 1 expert")


class Encoded(NamedTuple):
    """Items as latents and words."""

    latents: Float[Tensor, "B P d"]
    gates: Float[Tensor, "B P"]
    """1 for shared experts; those of a modality sum to 1."""
    chosen: Quantised


class Losses(NamedTuple):
    """Reconstruction, summed over the dimensions."""

    recon: Float[Tensor, ""]
    aux: Float[Tensor, ""]


class Recommender(nn.Module):
    """Next ids from a history of ids: summed embeddings, a GRU, one head per position (our design)."""

    def __init__(self, positions: int, words: int, width: int) -> None:
        super().__init__()
        self.positions = positions
        self.table = nn.Parameter(torch.randn(positions, words, width) * 0.1)
        """E_p of each position."""
        self.gru = nn.GRU(width, width, batch_first=True)
        self.heads = nn.Linear(width, positions * words)

    def states(
        self, items: Float[Tensor, "U e"], places: Int64[Tensor, "B L"], length: Int64[Tensor, " B"]
    ) -> Float[Tensor, "V e"]:
        """After each valid place, in the order of a packed sequence."""
        packed = pack_padded_sequence(items[places], length.cpu(), batch_first=True, enforce_sorted=False)
        return self.gru(packed)[0].data

    def loss(self, states: Float[Tensor, "V e"], targets: Int64[Tensor, "V P"]) -> Float[Tensor, " V"]:
        """Cross-entropy of the targets' hard ids, mean over the positions."""
        logits = self.heads(states).unflatten(-1, (self.positions, -1))
        return (
            nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            .view_as(targets)
            .mean(1)
        )


class MMQ(Tokenizer):
    """Shared and specific experts with private cosine codebooks, and the recommender that tunes them."""

    text: Tensor
    graph: Tensor
    content_codes: Int64[Tensor, "N P"]
    """Ids before the behaviour-aware stage; -1 until it starts."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config = config
        text, graph = width_of(schema["text"]), width_of(schema["graph"])
        hidden, d = config.hidden, config.latent
        self.groups = [config.shared, config.text, config.graph]
        self.num_words, self.num_positions = config.words, sum(self.groups)
        self.shared = Experts(config.shared, text + graph, hidden, d)
        self.of_text, self.of_graph = Experts(config.text, text, hidden, d), Experts(config.graph, graph, hidden, d)
        self.text_gate = two_layers(text, config.gate_hidden, config.text)
        self.graph_gate = two_layers(graph, config.gate_hidden, config.graph)
        self.codebooks = Codebooks(self.num_positions, config.words, d, config.metric)
        self.decoder = two_layers(d, hidden, text + graph)
        self.text_decoder, self.graph_decoder = two_layers(d, hidden, text), two_layers(d, hidden, graph)
        self.recommender = Recommender(self.num_positions, config.words, config.recommender)
        self.register_buffer("content_codes", torch.full((size_of(schema.key("item")), self.num_positions), -1))
        self.register_buffer("text", torch.zeros(0, text), persistent=False)
        self.register_buffer("graph", torch.zeros(0, graph), persistent=False)

    @torch.no_grad()
    def prepare(self, data: CatalogueData) -> None:
        """Words by k-means over the latents of the experts as they start; content for items of histories."""
        self.text, self.graph = data.vectors.text, data.vectors.graph
        batch = everything(data.train)
        self.codebooks.start(self.latents(batch))

    def latents(self, batch: ItemBatch) -> Float[Tensor, "B P d"]:
        """Of all experts: shared, text, second modality."""
        both = torch.cat([batch.text, batch.graph], dim=1)
        return torch.cat([self.shared(both), self.of_text(batch.text), self.of_graph(batch.graph)], dim=1)

    def gates(self, batch: ItemBatch) -> Float[Tensor, "B P"]:
        """Ones for the shared experts, a softmax over each modality's."""
        ones = batch.text.new_ones(batch.text.shape[0], self.config.shared)
        gates = (self.text_gate(batch.text).softmax(1), self.graph_gate(batch.graph).softmax(1))
        return torch.cat([ones, *gates], dim=1)

    def encode(self, batch: ItemBatch) -> Encoded:
        latents = self.latents(batch)
        return Encoded(latents, self.gates(batch), self.codebooks(latents))

    def index(self, chosen: Quantised) -> Float[Tensor, "B P K"]:
        """One-hot ids with the softmax's gradient."""
        return index_straight_through(chosen.scores, chosen.codes, self.config.temperature)

    def reconstruct(self, batch: ItemBatch, encoded: Encoded) -> Losses:
        """L_recon and L_aux, through the straight-through estimator of the configuration."""
        if self.config.recon_ste == "index":
            sums = self._sums(encoded.gates, weigh(self.index(encoded.chosen), self.codebooks.words))
        else:
            parts = (self._sums(encoded.gates, part) for part in (encoded.latents, encoded.chosen.words))
            sums = tuple(map(value_straight_through, *parts))
        shared, text, graph = sums
        target = torch.cat([batch.text, batch.graph], dim=1)
        aux = squared_error(batch.text, self.text_decoder(text)) + squared_error(batch.graph, self.graph_decoder(graph))
        return Losses(squared_error(target, self.decoder(shared + text + graph)), aux)

    def _sums(self, gates: Float[Tensor, "B P"], parts: Float[Tensor, "B P d"]) -> tuple[Float[Tensor, "B d"], ...]:
        """Of the shared experts, the text's and the second modality's."""
        split = (part.split(self.groups, dim=1) for part in (gates, parts))
        return tuple(weighted_sum(*part) for part in zip(*split, strict=True))

    def orthogonality(self) -> Float[Tensor, ""]:
        """L_ortho over the groups."""
        return self.shared.orthogonality() + self.of_text.orthogonality() + self.of_graph.orthogonality()

    def tokens(self, batch: ItemBatch) -> Tokens:
        _, gates, chosen = self.encode(batch)
        target = torch.cat([batch.text, batch.graph], dim=1)
        weights = torch.ones_like(chosen.codes, dtype=target.dtype)
        return Tokens(chosen.codes, weights, target, self.decoder(weighted_sum(gates, chosen.words)))

    def tokenizer_parameters(self) -> list[nn.Parameter]:
        """All but the recommender's."""
        own = {id(parameter) for parameter in self.recommender.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def content_of(self, items: Int64[Tensor, " U"]) -> ItemBatch:
        """Their vectors; without behaviour vectors, which MMQ does not read."""
        return ItemBatch(items, self.text[items], self.graph[items], self.text.new_zeros(len(items), 0))

    @torch.no_grad()
    def keep_content_codes(self) -> None:
        """Notes the ids that content alone gave, once, for the churn."""
        if (self.content_codes < 0).any():
            items = torch.arange(len(self.text), device=self.text.device)
            self.content_codes.copy_(catalogue_tokens(self, self.content_of(items))[0])
