"""TIGER: the next item as a path of semantic-id tokens, from coarse to fine.

Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023, https://arxiv.org/abs/2305.05065

Stated: items are tuples of RQ-VAE words and one more that tells collisions apart, generated in this order by an
encoder-decoder transformer; beam search. Our design: what follows.

Differs from the paper: the tokens of an item in a history are merged into one position, and the encoder is causal, so
that all places of a history are learnt in one pass (`training.layers.generator`); each level has a softmax of its own,
over the words that lead on to an item, in training and in search, so that the model does not spend itself on learning
which ids there are and the shares of all items sum to 1; output words are the input's embeddings; no token of the user;
other tokenizers' ids, or LETTER's published ones, can take the place of the RQ-VAE's, their codebooks in order.

Legend: B users, L history, N items, P levels, D words of a level, K beams, C most items that share an id, d width.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from training.data.sequences import SequenceBatch, SequenceData
from training.layers.generator import (
    GeneratorSizes,
    SequenceEncoder,
    TokenDecoder,
    newest_state,
    reordered,
)
from training.layers.listing import Best, best_of_found
from training.layers.rows import rows
from training.layers.semantic_ids import Codebooks, semantic_ids
from training.schema import Schema
from training.system import System, Upstream
from training.tasks.next_item import NEXT_ITEM, NextItemConfig

Ids = Literal["rqvae", "mpq", "mmq", "mmq2", "bbq", "letter"]
CODEBOOKS: dict[Ids, Codebooks] = {
    "rqvae": Codebooks(4, 256),
    "mpq": Codebooks(4, 512),
    "mmq": Codebooks(6, 100),
    "mmq2": Codebooks(6, 100),
    "bbq": Codebooks(4, 256),
    "letter": Codebooks(4, 256),
}
"""Shape of the ids of each tokenizer with its defaults, and of LETTER's."""


@dataclass(frozen=True, kw_only=True)
class Config(NextItemConfig):
    """Sizes and training."""

    ids: Ids = "rqvae"
    """Source of the semantic ids: a tokenizer's run, of its default sizes, or LETTER's, published with Beauty."""
    dim: int = 96
    """Width of tokens and states."""
    heads: int = 4
    """Attention heads."""
    encoder_layers: int = 2
    """Blocks over the history."""
    decoder_layers: int = 1
    """Blocks over the path."""
    dropout: float = 0.0
    """Share of elements dropped after the embedding, attention and feed-forward."""
    beams: int = 20
    """Paths kept at each level."""
    epochs: int = 8
    """Passes over the users; the weights with the best NDCG@10 on the validation part are kept."""
    batch_size: int = 32
    """Users of a step."""
    learning_rate: float = 2e-3
    """Rate of AdamW at its highest."""
    schedule: Literal["constant", "linear"] = "linear"
    """Schedule of the rate. linear: it rises over the first 2 % of the steps, then falls to zero."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""


GPU = Config(
    dim=384,
    heads=6,
    encoder_layers=4,
    decoder_layers=4,
    dropout=0.2,
    beams=50,
    epochs=200,
    batch_size=256,
    learning_rate=5e-4,
)
"""Layers and heads of the paper, for an accelerator; here it was only started."""


class Trie(NamedTuple):
    """The semantic ids that exist. A node of level p is one of their distinct beginnings of p words."""

    children: tuple[Int64[Tensor, "nodes D"], ...]
    """For each level p the node of level p + 1 that a word leads to, or -1; level 0 has one node."""
    nodes: Int64[Tensor, "N P"]
    """Where the id of each item, from item 1 on, stands before its word of each level."""
    items: Int64[Tensor, "leaves C"]
    """Items of each whole id, ascending, filled up with 0."""


class Found(NamedTuple):
    """What a search finds; M = K * C."""

    items: Int64[Tensor, "B M"]
    """0 where there is none."""
    scores: Float[Tensor, "B M"]
    """-inf where no id is."""


def build_trie(codes: Int64[Tensor, "N P"], words: int) -> Trie:
    """The trie of the items 1..N with these codes, each in 0..words-1."""
    children, nodes, parent, num_nodes = [], [], codes.new_zeros(len(codes)), 1
    for level in codes.unbind(dim=1):
        nodes.append(parent)
        edges, node = torch.unique(parent * words + level, return_inverse=True)
        table = codes.new_full((num_nodes * words,), -1)
        table[edges] = torch.arange(len(edges), device=codes.device)
        children.append(table.view(num_nodes, words))
        parent, num_nodes = node, len(edges)
    order = torch.argsort(parent, stable=True)
    sizes = parent.bincount(minlength=num_nodes)
    place = torch.arange(len(codes), device=codes.device) - (sizes.cumsum(0) - sizes)[parent[order]]
    items = codes.new_zeros(num_nodes, int(sizes.max()))
    items[parent[order], place] = order + 1
    return Trie(tuple(children), torch.stack(nodes, dim=1), items)


def shares(
    outputs: Float[Tensor, "*B d"], words: Float[Tensor, "D d"], after: Int64[Tensor, "*B D"]
) -> Float[Tensor, "*B D"]:
    """Log of a softmax over the words that lead to a node; -inf for the others."""
    return (outputs @ words.T).where(after >= 0, -torch.inf).log_softmax(dim=-1)


class TIGER(nn.Module):
    """Encoder of histories and decoder of ids; one table of token embeddings for both and for the output."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        shape = CODEBOOKS[config.ids]
        sizes = GeneratorSizes(
            items=schema.key("item"),
            codebooks=shape.codebooks,
            words=shape.words,
            max_length=config.max_length,
            dim=config.dim,
            heads=config.heads,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            dropout=config.dropout,
        )
        self.encoder, self.decoder = SequenceEncoder(sizes), TokenDecoder(sizes)
        self.ids: Ids = config.ids
        self.shape, self.beams, self.max_length = shape, config.beams, config.max_length
        self._trie: Trie | None = None

    def prepare(self, data: SequenceData) -> None:
        """Takes over the items' ids."""
        self.encoder.prepare(semantic_ids(self.ids, data).codes)

    def trie(self) -> Trie:
        """Of the ids taken over; built once, as it follows from them."""
        codes = self.encoder.tokens_of[1:] % self.shape.words
        if self._trie is None or self._trie.items.device != codes.device:
            self._trie = build_trie(codes, self.shape.words)
        return self._trie

    def words(self) -> Float[Tensor, "P D d"]:
        """Embeddings of every level's words."""
        return self.encoder.tokens.weight[:-1].unflatten(0, self.shape)

    def loss(self, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of every place's next item: the sum over its tokens, each given the true ones before."""
        states = self.encoder(batch.items)
        tokens = self.encoder.tokens_of[batch.targets]  # (B, L, P)
        chosen = self.encoder.tokens(tokens[:, :, :-1])
        places = batch.targets > 0
        outputs = self.decoder(states, chosen, self.decoder.prefixes(states, self.shape.codebooks))[places]
        tokens, words, trie = tokens[places] % self.shape.words, self.words(), self.trie()
        nodes = trie.nodes[batch.targets[places] - 1]
        parts = [
            functional.nll_loss(shares(outputs[:, level], words[level], children[nodes[:, level]]), tokens[:, level])
            for level, children in enumerate(trie.children)
        ]
        return torch.stack(parts).sum(), {}

    def search(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"]) -> Found:
        """Items of the `beams` likeliest ids, the likeliest first, those of one id ascending."""
        states = self.encoder(items)
        memory = self.decoder.histories(states, length)
        x = self.decoder.first(newest_state(states, length))
        score, node, past = x.new_zeros(x.shape[0], 1), items.new_zeros(x.shape[0], 1), ()
        words = self.words()
        for level, children in enumerate(self.trie().children):
            output, past = self.decoder.step(x, level, past, memory)
            after = rows(children, node)  # (B, K, D)
            candidates = (score[:, :, None] + shares(output, words[level], after)).flatten(1)
            score, best = candidates.topk(min(self.beams, candidates.shape[1]), dim=1)
            node = after.flatten(1).gather(1, best).clamp(min=0)
            x, past = rows(words[level], best % words.shape[1]), reordered(past, best // words.shape[1])
        found = rows(self.trie().items, node) * (score > -torch.inf)[:, :, None]  # (B, K, C)
        return Found(found.flatten(1), score[:, :, None].expand_as(found).flatten(1))

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        """Of what the search finds; a score is the logarithm of the id's probability."""
        found = self.search(items, length)
        return best_of_found(found.items, found.scores, items, top)


def upstream(config: Config) -> tuple[Upstream, ...]:
    """The tokenizer's run; LETTER's ids need none."""
    return () if config.ids == "letter" else (Upstream(system=config.ids, config={}),)


SYSTEM = System(
    name="tiger",
    title="Generative retrieval over semantic ids",
    paper="https://arxiv.org/abs/2305.05065",
    provenance="ids, order of tokens and beam search from the paper; merged items, causal encoder, beams over existing "
    "ids and sizes are our design",
    task=NEXT_ITEM,
    config=Config,
    gpu=GPU,
    baseline="sasrec",
    build=TIGER,
    upstream=upstream,
    quick={"max_length": 12, "dim": 16, "encoder_layers": 1, "beams": 8},
    variant=lambda config: "" if config.ids == Config().ids else config.ids,
)
