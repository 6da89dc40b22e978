"""REG4Rec as it is trained: the network, the catalogue's semantic ids, and the search for the best items.

Legend: B requests, L places, M codebooks, N items.
"""

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from training.data.sequences import SequenceData, num_categories
from training.layers.generator import GeneratorSizes
from training.layers.listing import Best
from training.layers.semantic_ids import semantic_ids
from training.schema import Schema, size_of
from training.systems.reg4rec.catalogue import Catalogue
from training.systems.reg4rec.config import Config
from training.systems.reg4rec.decode import Decoded, Search, decode
from training.systems.reg4rec.generator import Generator
from training.systems.reg4rec.ranking import ranked
from training.warm_start import Axis


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
        self.max_length = config.max_length
        num_rows = size_of(schema.key("item"))
        sizes = GeneratorSizes(
            items=schema.key("item"),
            codebooks=config.shape.codebooks,
            words=config.shape.words,
            max_length=config.max_length,
            dim=config.dim,
            heads=config.heads,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            dropout=config.dropout,
        )
        categories = num_categories(schema)
        self.category = schema.of("category", "item")[:1]
        self.generator = Generator(sizes, categories, config.temperature)
        self.reference = Generator(sizes, categories, config.temperature) if config.preference_epochs else None
        if self.reference is not None:
            self.reference.requires_grad_(False)
        shape = (num_rows, config.shape.codebooks)
        self.register_buffer("codes", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("weights", torch.ones(shape))
        self.register_buffer("categories", torch.zeros(num_rows, dtype=torch.int64))
        self.register_buffer("popularity", torch.zeros(num_rows, dtype=torch.int64))
        self._catalogue: tuple[Catalogue, ...] = ()

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        heads = ("category_of_state.weight", "category_of_state.bias", "category_of_token.weight")
        parts = ("generator",) if self.reference is None else ("generator", "reference")
        return {f"{part}.{head}": Axis(self.category) for part in parts for head in heads if self.category}

    def prepare(self, data: SequenceData) -> None:
        """Takes the semantic ids from the tokenizer's run. Raises ValueError where they are missing or do not fit."""
        given = semantic_ids(self.config.ids, data)
        self.generator.encoder.prepare(given.codes)
        self.codes.copy_(given.codes)
        self.weights.copy_(given.weights)
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

    def decode(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], theta: Float[Tensor, " B"]) -> Decoded:
        """The best sets of tokens after each history; theta 0 prunes nothing."""
        search = Search(self.config.beams, self.config.over, self.catalogue())
        return decode(self.generator, self.generator.encode(items, length), theta, search)

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        """Items of the best sets without pruning; of one set the more popular first."""
        decoded = self.decode(items, length, torch.zeros(items.shape[0], device=items.device))
        found = ranked(decoded, self.catalogue(), items, top, self.config.merge)
        return Best(found.items, found.scores)
