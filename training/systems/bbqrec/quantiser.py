"""The quantiser: what text and graph have in common with behaviour becomes codes, what they have alone does not.

Legend: B items, N items of the catalogue, S = 3 sources (text, graph, shared), L levels, K words, d width of latents.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.experts import two_layers
from training.layers.item_content import is_given
from training.layers.items import IdEmbedding
from training.layers.quantiser import Quantised, unit
from training.layers.residual import ResidualLevels, sum_of_words
from training.layers.tokenizer import Tokenizer, Tokens, everything
from training.schema import Schema, size_of, width_of
from training.systems.bbqrec.club import Club
from training.systems.bbqrec.neighbours import Partners
from training.tasks.semantic_ids import TokenizerConfig
from training.warm_start import Axis

SOURCES = ("text", "graph", "shared")
SHARED = 2
Books = Literal["shared", "separate"]


@dataclass(frozen=True, kw_only=True)
class QuantiserConfig(TokenizerConfig):
    """Sizes, and how much each of its aims counts."""

    levels: int = 3
    """L: residual levels of a source."""
    words: int = 256
    """K: words of each level, and the most items that may share the ids of all levels."""
    latent: int = 32
    """d: width of latents and words."""
    epochs: int = 20
    """Passes over the items at most."""
    books: Books = "shared"
    """Codebooks: those of text, graph and behaviour together, or of each alone."""
    temperature: float = 0.1
    """Divisor of the cosines in all contrasts."""
    behaviour_weight: float = 2.0
    """Weight of what makes neighbours' words alike; 0 leaves the content alone."""
    modality_weight: float = 0.1
    """Weight of what makes the words of an item's text and graph alike."""
    noise_weight: float = 0.1
    """Weight of what keeps a modality's own part free of what its codes say."""
    own_width: int = 16
    """Width of what a modality has for itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("levels", "own_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


Levels = list[tuple[Tensor, Quantised]]
"""Of one source, as `ResidualLevels` says it."""


class Encoded(NamedTuple):
    """Items by source, each [B, d] of norm 1, and what is quantised of it."""

    latents: tuple[Tensor, ...]
    found: tuple[Levels, ...]
    given: Bool[Tensor, "B S"]
    """Whether an item has the modality; all have what is shared."""
    own: tuple[Tensor, Tensor]
    """Of text and graph, what they have for themselves."""


class Modality(nn.Module):
    """One modality's two encoders and its decoder."""

    def __init__(self, width: int, config: QuantiserConfig) -> None:
        super().__init__()
        self.aligned = two_layers(width, config.hidden, config.latent)
        self.own = two_layers(width, config.hidden, config.own_width)
        self.decoder = two_layers(config.latent + config.own_width, config.hidden, width)
        self.club = Club(config.latent, config.latent, config.own_width)

    def alone(self, content: Float[Tensor, "B w"]) -> Float[Tensor, "B o"]:
        """What it has for itself, with elements of size one, which CLUB can follow from its start on."""
        own = self.own(content)
        return unit(own) * own.shape[1] ** 0.5


class BBQ(Tokenizer):
    """Encoders, codebooks, decoders, and the vectors of ids that training compares them with."""

    text: Tensor
    graph: Tensor

    def __init__(self, config: QuantiserConfig, schema: Schema) -> None:
        super().__init__()
        self.config = config
        self.num_words, self.num_positions = config.words, len(SOURCES) * config.levels
        key = schema.key("item")
        widths = [width_of(schema[name]) for name in SOURCES[:2]]
        self.modalities = nn.ModuleList(Modality(width, config) for width in widths)
        count = 1 if config.books == "shared" else len(SOURCES)
        self.books = nn.ModuleList(ResidualLevels(config.levels, config.words, config.latent) for _ in range(count))
        self.ids = IdEmbedding(Axis((key,)), config.latent)
        nn.init.normal_(self.ids.weight, std=0.02)
        self.partners = Partners(size_of(key))
        for name, width in zip(SOURCES[:2], widths, strict=True):
            self.register_buffer(name, torch.zeros(0, width), persistent=False)

    @torch.no_grad()
    def prepare(self, data: CatalogueData) -> None:
        """Takes content and neighbours of the training part, and starts the words by k-means over the latents."""
        self.text, self.graph = data.vectors.text, data.vectors.graph
        train = np.isin(data.vectors.item.numpy(), data.train.item)
        self.ids.prepare(np.where(train, data.sequences.train_item_counts, 0))
        self.partners.prepare(data)
        for book, latents in zip(self.distinct_books(), self.latents_by_book(everything(data.train)), strict=True):
            book.start(latents)

    def latents_by_book(self, batch: ItemBatch) -> list[Float[Tensor, "_ d"]]:
        """What each codebook is to stand for: its sources' latents of the items that have them."""
        latents, given = self.latents(batch)
        there = [latent[given[:, source]] for source, latent in enumerate(latents)]
        return [torch.cat(there)] if len(self.books) == 1 else there

    def book(self, source: int) -> ResidualLevels:
        """The codebooks of a source."""
        found = self.books[source % len(self.books)]
        assert isinstance(found, ResidualLevels)
        return found

    def distinct_books(self) -> list[ResidualLevels]:
        """Each once."""
        return [self.book(number) for number in range(len(self.books))]

    def parts(self) -> tuple[Modality, Modality]:
        """Of text and graph."""
        text, graph = self.modalities
        assert isinstance(text, Modality)
        assert isinstance(graph, Modality)
        return text, graph

    def latents(self, batch: ItemBatch) -> tuple[tuple[Tensor, ...], Bool[Tensor, "B S"]]:
        """Of each source [B, d], and whether it is given; what is shared is the direction of the given ones' sum."""
        contents = (batch.text, batch.graph)
        there = torch.stack([is_given(one) for one in contents], dim=1)
        own = [unit(part.aligned(one)) for part, one in zip(self.parts(), contents, strict=True)]
        both = torch.stack(own, dim=1) * there[:, :, None]
        given = torch.cat([there, torch.ones_like(there[:, :1])], dim=1)
        return (*own, unit(both.sum(1))), given

    def encode(self, batch: ItemBatch) -> Encoded:
        latents, given = self.latents(batch)
        text, graph = self.parts()
        found = tuple(self.book(source)(latent) for source, latent in enumerate(latents))
        return Encoded(latents, found, given, (text.alone(batch.text), graph.alone(batch.graph)))

    def decoded(self, words: tuple[Tensor, ...], own: tuple[Tensor, Tensor]) -> Float[Tensor, "B W"]:
        """Text and graph from the words of each, and from what it has for itself."""
        pairs = zip(self.parts(), words[:2], own, strict=True)
        return torch.cat([part.decoder(torch.cat([word, mine], dim=1)) for part, word, mine in pairs], dim=1)

    def tokens(self, batch: ItemBatch) -> Tokens:
        """Codes by source, text, graph, shared, each from coarse to fine; those of a modality that an item lacks have
        weight 0. Decoded is what words and each modality's own part give together."""
        encoded = self.encode(batch)
        codes = torch.cat([chosen.codes for levels in encoded.found for _, chosen in levels], dim=1)
        weights = encoded.given.repeat_interleave(self.config.levels, dim=1).to(batch.text.dtype)
        words = tuple(map(sum_of_words, encoded.found))
        return Tokens(codes, weights, content(batch), self.decoded(words, encoded.own))

    def of_items(self, items: Int64[Tensor, " B"]) -> ItemBatch:
        """Items of the catalogue with their content."""
        text, graph = self.text[items], self.graph[items]
        return ItemBatch(items, text, graph, text[:, :0])


def content(batch: ItemBatch) -> Float[Tensor, "B W"]:
    """[text, graph]."""
    return torch.cat([batch.text, batch.graph], dim=1)


def moving(latent: Float[Tensor, "B d"], levels: Levels) -> Float[Tensor, "B d"]:
    """The words that stand for a latent; a gradient moves both, so that a contrast of them moves the codebooks."""
    return sum_of_words(levels) + (latent - latent.detach())
