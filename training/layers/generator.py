"""What generative recommenders share: a causal encoder of histories of semantic ids, and a decoder of token paths.

Our design: the tokens of an item are merged into one position; the encoder is causal, so that its state at place t is
a memory of items 0 .. t and every place of a history is a training target in one pass; the decoder starts from the
newest state. A path's keys and values are kept from step to step, those of the memory are computed once per request
and shared by its paths.

Legend: B requests, L places of a history, S places of a memory, A paths of a request, T steps of a path, N items,
P tokens of an item (codebooks), D words of a codebook, d width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.layers.items import known
from training.layers.rows import rows, rows_of_each
from training.layers.transformer import DecoderBlock, EncoderBlock, KeysValues, causal_bias, length_bias
from training.schema import Field, size_of
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class GeneratorSizes:
    """Shapes of encoder and decoder."""

    items: Field
    """Key of the items; ids are 1..N, 0 is the unknown item and the filling of histories."""
    codebooks: int
    """P."""
    words: int
    """D."""
    max_length: int
    """Longest history."""
    dim: int = 64
    heads: int = 4
    encoder_layers: int = 1
    decoder_layers: int = 1
    dropout: float = 0.2

    @property
    def num_rows(self) -> int:
        """N + 1."""
        return size_of(self.items)


class Memory(NamedTuple):
    """What the decoder looks at."""

    layers: tuple[KeysValues, ...]
    """Keys and values [B, H, S, e] of each decoder block."""
    bias: Float[Tensor, "B Q S"]
    """MASKED where a place must not be seen; Q = A * T rows, or 1 for all."""


class SequenceEncoder(nn.Module):
    """Histories of items -> causal states: the one at place t knows the items 0 .. t."""

    tokens_of: Int64[Tensor, "N+1 P"]
    """Rows of `tokens` of each item: codebook * D + word; for item 0 the last row, which is the unknown token's."""

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        self.sizes = sizes
        rows, dim = sizes.codebooks * sizes.words, sizes.dim
        self.tokens = nn.Embedding(rows + 1, dim)
        self.places = nn.Embedding(sizes.max_length, dim)
        nn.init.normal_(self.tokens.weight, std=dim**-0.5)
        nn.init.normal_(self.places.weight, std=0.1 * dim**-0.5)
        with torch.no_grad():
            # No training sample holds the unknown item, so that its token stays what it is here: nothing.
            self.tokens.weight[-1] = 0.0
        self.merge = nn.Sequential(nn.Linear(sizes.codebooks * dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, sizes.heads, sizes.dropout) for _ in range(sizes.encoder_layers))
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(sizes.dropout)
        self.register_buffer("tokens_of", torch.full((sizes.num_rows, sizes.codebooks), rows))

    @property
    def referred(self) -> dict[str, Axis]:
        """See `training.warm_start`: the weights of tokens mean nothing beside other semantic ids."""
        return {"tokens_of": Axis((self.sizes.items,))}

    def prepare(self, codes: Int[Tensor, "N+1 P"]) -> None:
        """Fill the items' tokens from their semantic ids; row 0 is not read. ValueError for ids that do not fit."""
        if codes.shape != self.tokens_of.shape:
            raise ValueError(f"codes are {list(codes.shape)}, must be {list(self.tokens_of.shape)}")
        if bool(((codes < 0) | (codes >= self.sizes.words))[1:].any()):
            raise ValueError(f"codes range over {codes.min()}..{codes.max()}, must be in 0..{self.sizes.words - 1}")
        offsets = torch.arange(self.sizes.codebooks) * self.sizes.words
        self.tokens_of[1:] = codes[1:].long() + offsets

    def forward(self, items: Int64[Tensor, "B L"]) -> Float[Tensor, "B L d"]:
        """The states; ids that are no item count as unknown. L is at most `max_length`."""
        tokens = rows(self.tokens_of, known(items, self.sizes.num_rows))
        x = self.merge(self.tokens(tokens).flatten(2)) + self.places.weight[: items.shape[1]]
        x, bias = self.dropout(x), causal_bias(x)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)


class TokenDecoder(nn.Module):
    """Decoder blocks over the steps of paths; positions are rotary and count steps only."""

    def __init__(self, sizes: GeneratorSizes) -> None:
        super().__init__()
        dim = sizes.dim
        self.blocks = nn.ModuleList(DecoderBlock(dim, sizes.heads, sizes.dropout) for _ in range(sizes.decoder_layers))
        self.start, self.norm = nn.Parameter(torch.zeros(dim)), nn.LayerNorm(dim)

    def remember(self, states: Float[Tensor, "B S d"]) -> tuple[KeysValues, ...]:
        """Keys and values of the encoder's states for each block; once per request."""
        return tuple(block.cross.keys_values(states) for block in _blocks(self))

    def prefixes(self, states: Float[Tensor, "B L d"], steps: int) -> Memory:
        """The memory for training: L paths of `steps` steps per request, path l sees the places 0 .. l."""
        return Memory(self.remember(states), causal_bias(states).repeat_interleave(steps, 0)[None])

    def histories(self, states: Float[Tensor, "B S d"], length: Int[Tensor, " B"]) -> Memory:
        """The memory for generation: every path of a request sees its first `length` places."""
        return Memory(self.remember(states), length_bias(states, length))

    def forward(
        self, newest: Float[Tensor, "B A d"], chosen: Float[Tensor, "B A T-1 d"], memory: Memory
    ) -> Float[Tensor, "B A T d"]:
        """Teacher-forced: outputs of T steps, the first after `newest` alone, the others after each chosen token.

        `newest` is the encoder's state at each path's last place, `chosen` the embeddings of its first T-1 tokens.
        """
        x = torch.cat((self.first(newest).unsqueeze(2), chosen), 2)
        for block, keys_values in zip(_blocks(self), memory.layers, strict=True):
            x, _ = block(x, 0, None, keys_values, memory.bias)
        return self.norm(x)

    def step(
        self, x: Float[Tensor, "B A d"], number: int, past: Sequence[KeysValues], memory: Memory
    ) -> tuple[Float[Tensor, "B A d"], tuple[KeysValues, ...]]:
        """Step `number` (0 .. T-1) alone: the same outputs as `forward`, from the kept keys and values of the paths.

        `x` is `first(newest)` at step 0 and afterwards the embedding of the token chosen last; `past` is empty at step
        0 and afterwards what the step before returned, reordered (`reordered`) where paths changed their places.
        """
        x, kept = x.unsqueeze(2), []
        for layer, (block, keys_values) in enumerate(zip(_blocks(self), memory.layers, strict=True)):
            x, seen = block(x, number, past[layer] if past else None, keys_values, memory.bias)
            kept.append(seen)
        return self.norm(x).squeeze(2), tuple(kept)

    def first(self, newest: Float[Tensor, "B A d"]) -> Float[Tensor, "B A d"]:
        """The input of step 0."""
        return newest + self.start


def newest_state(states: Float[Tensor, "B S d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B 1 d"]:
    """The state at each request's last place; at place 0 for an empty history."""
    place = (length.long() - 1).clamp(min=0)[:, None, None]
    return states.gather(1, place.expand(-1, 1, states.shape[2]))


def reordered(past: Sequence[KeysValues], parents: Int[Tensor, "B K"]) -> tuple[KeysValues, ...]:
    """Keys and values of the paths that slot k continues: those of slot `parents[b, k]` before (all in 0 .. A-1)."""
    return tuple(KeysValues(*(rows_of_each(kept, parents) for kept in layer)) for layer in past)


def _blocks(decoder: TokenDecoder) -> list[DecoderBlock]:
    return [block for block in decoder.blocks if isinstance(block, DecoderBlock)]
