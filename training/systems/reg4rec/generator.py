"""REG4Rec's network: history -> memory; path -> confidence of every token, and the category it expects.

Legend: B requests, L places, A paths, T steps, M codebooks, D words, C categories, d width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from training.layers.generator import GeneratorSizes, Memory, SequenceEncoder, TokenDecoder, newest_state

_LEAST_NORM = 1e-12
"""As `functional.normalize`."""


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
        wished = self.to_token(outputs)
        # Not `normalize`, which spreads the norm over the row before it divides: two nodes of a graph more.
        return wished / torch.linalg.vector_norm(wished, dim=-1, keepdim=True).clamp(min=_LEAST_NORM) / self.temperature

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
