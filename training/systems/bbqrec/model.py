"""SASRec whose attention leans towards places whose items are quantised alike.

Legend: B histories, L history, D blocks, H heads, S sources, K buckets, I = K ** S buckets of all sources together.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.baselines import sasrec
from training.data.sequences import SequenceBatch, SequenceData
from training.layers.transformer import EncoderBlock, causal_bias
from training.schema import Schema, size_of
from training.systems.bbqrec.codes import SHAPES, Ids, exchanged, item_codes, item_vectors
from training.systems.bbqrec.quantiser import Books, QuantiserConfig
from training.systems.bbqrec.similarity import Cosines, SharedPrefix


@dataclass(frozen=True, kw_only=True)
class Config(sasrec.Config):
    """Sizes and training of SASRec, and whose codes bend its attention."""

    ids: Ids = "bbq"
    """Source of the codes: a tokenizer's run, of its default sizes, or LETTER's, published with Beauty."""
    similarity: Literal["prefix", "cosine"] = "prefix"
    """Likeness of two items: the common prefix of their codes, or the cosine of their quantised vectors, which the ids
    `bbq` alone have."""
    codes: Literal["true", "permuted"] = "true"
    """Codes of an item: its own, or those of another, so that as many share as many and nothing is meant."""
    table: Literal["learnt", "zero"] = "learnt"
    """Additions of similarity to the logits of a head: learnt ones, or none, which leaves SASRec."""
    table_rate: float = 3e-2
    """Rate of AdamW for the table, whose few entries have further to go than the weights beside them."""
    books: Books = "shared"
    """Codebooks of the ids `bbq`: those of all sources together, or of each alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, default in (("books", "shared"), ("similarity", "prefix")):
            if self.ids != "bbq" and getattr(self, name) != default:
                raise ValueError(f"{name} is {getattr(self, name)}, which only the ids 'bbq' have, not '{self.ids}'")


class Weights(NamedTuple):
    """Of the places of histories, in one block."""

    bent: Float[Tensor, "B H L L"]
    """As they are used."""
    plain: Float[Tensor, "B H L L"]
    """Of the same states without what similarity adds in this block."""


class BBQRec(sasrec.SASRec):
    """The blocks of SASRec, and one small table for each of their heads."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.ids: Ids = config.ids
        self.permuted = config.codes == "permuted"
        shape, num_items = SHAPES[config.ids], size_of(schema.key("item"))
        sources = len(shape.sources)
        if config.similarity == "prefix":
            self.similarity = SharedPrefix(num_items, sources, shape.levels)
        else:
            self.similarity = Cosines(num_items, sources, QuantiserConfig().latent)
        sizes = (config.layers, sources, self.similarity.num_buckets, config.heads)
        self.table = nn.Parameter(torch.zeros(sizes), requires_grad=config.table == "learnt")

    def prepare(self, data: SequenceData) -> None:
        """Takes over what the items have in each source, too. Raises ValueError where that is of other items."""
        super().prepare(data)
        is_prefix, held = isinstance(self.similarity, SharedPrefix), self.similarity.table()
        found = item_codes(self.ids, data) if is_prefix else item_vectors(data)
        if found.shape != held.shape:
            raise ValueError(f"what is known of the items is {[*found.shape]}, must be {[*held.shape]}")
        held.copy_(exchanged(found) if self.permuted else found)

    def leanings(self, items: Int64[Tensor, "B L"]) -> list[Float[Tensor, "B H L L"]]:
        """Of each block the entries of its table for each pair of places, summed over the sources."""
        index = self.index(items)
        return [_looked_up(together(table), index) for table in self.table.unbind()]

    def index(self, items: Int64[Tensor, "B L"]) -> Int64[Tensor, "B L L"]:
        """Which bucket of all sources together a pair of places is in, the first source's number the highest digit."""
        first, *others = self.similarity(items, items)
        for one in others:
            first = first * self.similarity.num_buckets + one
        return first

    def attention(self, items: Int64[Tensor, "B L"]) -> list[Weights]:
        """What each block looks at, with what similarity adds and without."""
        x = self.items(items) + self.positions.weight[: items.shape[1]]
        bias, found = causal_bias(x), []
        for block, by_head in zip(self.blocks, self.leanings(items), strict=True):
            assert isinstance(block, EncoderBlock)
            normed, own = block.attention_norm(x), block.attention
            seen = own.queries(normed), own.keys_values(normed).keys, bias
            found.append(Weights(own.weights(*seen, by_head), own.weights(*seen)))
            x = block(x, bias, by_head)
        return found


def together(table: Float[Tensor, "S K H"]) -> Float[Tensor, "I H"]:
    """The sum over the sources for every combination of their buckets."""
    first, *others = table.unbind()
    for one in others:
        first = (first[:, None] + one[None]).flatten(0, 1)
    return first


def _looked_up(table: Float[Tensor, "I H"], index: Int64[Tensor, "B L L"]) -> Float[Tensor, "B H L L"]:
    """Head by head, as the gradient of one column is quicker than that of rows."""
    chosen = [column.index_select(0, index.flatten()).view(index.shape) for column in table.unbind(dim=1)]
    return torch.stack(chosen, dim=1)


class Pairs(nn.Module):
    """How many pairs of places of each history, one before the other, are in each bucket of each source."""

    def __init__(self, module: BBQRec) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: SequenceBatch) -> Float[Tensor, "B _"]:
        """float32 [B, S * K], and last how many share anything."""
        inside = batch.items > 0
        pairs = torch.tril(inside[:, :, None] & inside[:, None, :], diagonal=-1)
        found, buckets = self.module.similarity(batch.items, batch.items), range(self.module.similarity.num_buckets)
        counts = [((one == bucket) & pairs).sum((1, 2)) for one in found for bucket in buckets]
        return torch.stack([*counts, ((self.module.index(batch.items) > 0) & pairs).sum((1, 2))], dim=1).float()
