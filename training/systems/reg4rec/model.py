"""REG4Rec's network: history -> memory; path -> confidence of every token, and the category it expects.

Legend: B requests, L places, A paths, T steps, M codebooks, D words, C categories, N items, d width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from training.data.sequences import SequenceData
from training.layers.generator import GeneratorSizes, Memory, SequenceEncoder, TokenDecoder, newest_state
from training.layers.semantic_ids import semantic_ids
from training.schema import Schema
from training.systems.reg4rec.catalogue import Catalogue
from training.systems.reg4rec.config import Config


class Encoded(NamedTuple):
    """What is computed once per request and shared by its paths."""

    memory: Memory
    newest: Float[Tensor, "B 1 d"]
    """State at the newest item, from which every path starts."""


class Generator(nn.Module):
    """Encoder, decoder and the two heads (section "Generator" of the paper's figure; sizes and details: our design)."""

    def __init__(self, sizes: GeneratorSizes, num_categories: int, temperature: float) -> None:
        super().__init__()
        self.sizes, self.temperature = sizes, temperature
        self.encoder, self.decoder = SequenceEncoder(sizes), TokenDecoder(sizes)
        self.to_token = nn.Linear(sizes.dim, sizes.dim, bias=False)
        self.category_of_state = nn.Linear(sizes.dim, num_categories)
        self.category_of_token = nn.Linear(sizes.dim, num_categories, bias=False)

    def encode(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"]) -> Encoded:
        """The memory of each history."""
        states = self.encoder(items)
        return Encoded(self.decoder.histories(states, length), newest_state(states, length))

    def directions(self) -> Float[Tensor, "MD d"]:
        """What a state is compared with: the embedding of each token, in the order codebook * D + word."""
        return self.direction(self.encoder.tokens.weight[:-1])

    def direction(self, embeddings: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Embeddings of norm 1."""
        return functional.normalize(embeddings, dim=-1)

    def wish(self, outputs: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The direction of the token that a state asks for, of length 1 / temperature."""
        return functional.normalize(self.to_token(outputs), dim=-1) / self.temperature

    def confidence(self, outputs: Float[Tensor, "*n d"], directions: Float[Tensor, "MD d"]) -> Float[Tensor, "*n M D"]:
        """Logits of all tokens: cosine over temperature."""
        return (self.wish(outputs) @ directions.T).unflatten(-1, (self.sizes.codebooks, self.sizes.words))

    def category_table(self) -> Float[Tensor, "MD C"]:
        """The token's part of the category logits."""
        return self.category_of_token(self.encoder.tokens.weight[:-1])

    def category_logits(self, outputs: Float[Tensor, "*n d"], chosen: Float[Tensor, "*n d"]) -> Float[Tensor, "*n C"]:
        """a_t = W_c [h_t ; emb(chosen token)]."""
        return self.category_of_state(outputs) + self.category_of_token(chosen)

    def embedded(self, tokens: Int64[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Embeddings of tokens codebook * D + word."""
        return self.encoder.tokens(tokens)


@contextmanager
def without_dropout(generator: Generator) -> Iterator[None]:
    """Meanwhile the generator is in evaluation mode."""
    training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(training)


class Reg4Rec(nn.Module):
    """The generator, the catalogue's semantic ids, and the frozen weights that the preference stage starts from."""

    codes: Int64[Tensor, "N+1 M"]
    """Row 0, the unknown item, is zeros."""
    weights: Float32[Tensor, "N+1 M"]
    """Weight of each token as a target; a token of weight 0 is inactive."""
    categories: Int64[Tensor, " N+1"]
    popularity: Int64[Tensor, " N+1"]
    """How often each item trains: the order of items that share a set of tokens."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config = config
        num_items = (schema["item_id"].cardinality or 1) - 1
        num_categories = schema["category"].cardinality or 1
        sizes = GeneratorSizes(
            num_items=num_items,
            codebooks=config.shape.codebooks,
            words=config.shape.words,
            max_length=config.max_length,
            dim=config.dim,
            heads=config.heads,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            dropout=config.dropout,
        )
        self.generator = Generator(sizes, num_categories, config.temperature)
        self.reference = Generator(sizes, num_categories, config.temperature) if config.preference_epochs else None
        if self.reference is not None:
            self.reference.requires_grad_(False)
        shape = (num_items + 1, config.shape.codebooks)
        self.register_buffer("codes", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("weights", torch.ones(shape))
        self.register_buffer("categories", torch.zeros(num_items + 1, dtype=torch.int64))
        self.register_buffer("popularity", torch.zeros(num_items + 1, dtype=torch.int64))
        self._catalogue: tuple[Catalogue, ...] = ()

    def prepare(self, data: SequenceData) -> None:
        """Takes the semantic ids from the tokenizer's run. Raises ValueError where they are missing or do not fit."""
        given = semantic_ids(self.config.ids, data.given)
        self.generator.encoder.prepare(given["codes"])
        self.codes.copy_(given["codes"])
        self.weights.copy_(given["weights"])
        self.categories.copy_(torch.from_numpy(data.categories))
        self.popularity.copy_(torch.from_numpy(data.train_item_counts))
        self._catalogue = ()

    def catalogue(self) -> Catalogue:
        """The map from sets of tokens to items, made when first asked for."""
        if not self._catalogue:
            codes, popularity = self.codes.cpu().numpy(), self.popularity.cpu().numpy()
            masked = self.config.validity == "masked"
            made = Catalogue(codes, popularity, self.config.shape.words, masked)
            # In a tuple, so that it is no part of the module: it follows from the codes.
            self._catalogue = (made.to(self.codes.device),)
        return self._catalogue[0]
