"""RQ-VAE: residual quantisation of content, TIGER's tokenizer.

Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023, https://arxiv.org/abs/2305.05065, after
Zeghidour et al., "SoundStream", 2021.

It states: an encoder of 512, 256 and 128 units to 32, three levels of 256 words each, the residual of one level is what
the next one quantises, commitment 0.25, words started by k-means; a fourth id tells items with equal ids apart.

Differs from the paper: the content is a sentence vector and the second modality of the data set (attributes or a
knowledge graph), so that all tokenizers read the same; AdamW in place of Adagrad, tens of passes in place of 20,000;
unused words are re-seeded.

Legend: B items, L levels, K words, d width of latents, W width of the content, N items of the catalogue.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.experts import squared_error
from training.layers.quantiser import value_straight_through
from training.layers.residual import ResidualLevels, levels_loss, sum_of_words
from training.layers.tokenizer import Tokenizer, Tokens, catalogue_tokens, everything
from training.schema import Schema, width_of
from training.system import System
from training.tasks.semantic_ids import SEMANTIC_IDS, TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class Config(TokenizerConfig):
    """The paper's sizes."""

    levels: int = 3
    """L: residual levels, and ids of an item before the one that tells collisions apart."""
    words: int = 256
    """K: words of each level, and the most items that may share the ids of all levels."""
    latent: int = 32
    """d: width of latents and words."""
    hidden: int = 512
    """Units of the encoder's first layer; each of the two after it has half as many. The decoder mirrors it."""


class RQVAE(Tokenizer):
    """Encoder, residual levels, decoder."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config = config
        self.num_words, self.num_positions = config.words, config.levels
        width = width_of(schema["text"]) + width_of(schema["graph"])
        widths = [width, config.hidden, config.hidden // 2, config.hidden // 4, config.latent]
        self.encoder, self.decoder = layers(widths), layers(widths[::-1])
        self.levels = ResidualLevels(config.levels, config.words, config.latent)

    @torch.no_grad()
    def prepare(self, data: CatalogueData) -> None:
        """Words of each level by k-means over the residuals that the encoder, as it starts, leaves to it."""
        self.levels.start(self.encoder(content(everything(data.train))))

    def tokens(self, batch: ItemBatch) -> Tokens:
        target = content(batch)
        found = self.levels(self.encoder(target))
        codes = torch.cat([chosen.codes for _, chosen in found], dim=1)
        decoded = self.decoder(sum_of_words(found))
        return Tokens(codes, torch.ones_like(codes, dtype=target.dtype), target, decoded)

    def loss(self, batch: ItemBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction, and for each level codebook and commitment terms."""
        target = content(batch)
        latent = self.encoder(target)
        self.levels.reseed(latent, self.config.reseed_every)
        found = self.levels(latent)
        self.levels.count(found)
        quantised = value_straight_through(latent, sum_of_words(found))
        recon, vq = squared_error(target, self.decoder(quantised)), levels_loss(found)
        return recon + vq, {"recon": recon.detach(), "vq": vq.detach()}


def layers(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    steps = [(nn.ReLU(), nn.Linear(inputs, outputs)) for inputs, outputs in pairwise(widths)]
    return nn.Sequential(*[module for pair in steps for module in pair][1:])


def content(batch: ItemBatch) -> Float[Tensor, "B W"]:
    """[text, graph]."""
    return torch.cat([batch.text, batch.graph], dim=1)


def tell_apart(codes: Int64[Tensor, "N L"], limit: int) -> Int64[Tensor, " N"]:
    """Number of each row among the rows that equal it, in order of their item ids.

    Raises ValueError where more than `limit` items have equal ids.
    """
    _, group = np.unique(codes.numpy(), axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    if sizes.max() > limit:
        raise ValueError(
            f"{sizes.max()} items share the ids of all levels, the last id can number {limit}; raise words or epochs"
        )
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - starts
    return torch.from_numpy(numbers)


def products(module: RQVAE, data: CatalogueData) -> dict[str, Tensor]:
    """`codes` int64 [N + 1, L + 1], the last one telling collisions apart, and `weights` float32, ones; row 0 zeros."""
    codes, weights = catalogue_tokens(module, data.vectors)
    number = torch.zeros(len(codes), 1, dtype=torch.int64)
    number[1:, 0] = tell_apart(codes[1:], module.config.words)
    return {"codes": torch.cat([codes, number], dim=1), "weights": torch.cat([weights, weights[:, :1]], dim=1)}


SYSTEM = System(
    name="rqvae",
    title="RQ-VAE: residual quantisation, as in TIGER",
    paper="https://arxiv.org/abs/2305.05065",
    provenance="states: levels, sizes, losses, k-means start, id against collisions; our design: re-seeding, AdamW; "
    "second modality is attributes or a graph",
    task=SEMANTIC_IDS,
    config=Config,
    baseline=None,
    build=RQVAE,
    products=products,
    quick={"hidden": 64, "latent": 8, "batch_size": 32, "reseed_every": 3},
)
