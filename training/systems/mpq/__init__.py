"""MPQ: the multi-codebook parallel quantiser, REG4Rec's tokenizer.

"REG4Rec: Reasoning-Enhanced Generative Model for Large-Scale Recommendation Systems", Alibaba International, ICDE 2026,
https://arxiv.org/abs/2508.15308

Only the abstract, the overview figure and public summaries were at hand. They state: M parallel encoders with a
codebook each, nearest word in L2, a routing gate over the quantised vectors, reconstruction and orthogonality losses;
ids of an item are unordered. Our design: a softmax gate over a linear layer, the index straight-through, VQ-VAE's
codebook and commitment terms with a small weight, orthogonality over each layer of the encoders (as MMQ has it),
k-means start and re-seeding, all sizes.

Differs from the paper: the item vector is a sentence vector and the second modality of the data set (attributes or a
knowledge graph), in place of a multimodal encoder's. Unknown where the paper could not be read.

Legend: B items, M codebooks, D words, d width of latents, W width of the item vector v = [text, graph].
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.experts import Experts, squared_error, two_layers, weighted_sum
from training.layers.quantiser import Codebooks, index_straight_through, vq_loss, weigh
from training.layers.tokenizer import Tokenizer, Tokens, everything
from training.schema import Schema, width_of
from training.system import System
from training.tasks.semantic_ids import SEMANTIC_IDS, TokenizerConfig, products

__all__ = ["GPU", "MPQ", "SYSTEM", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config(TokenizerConfig):
    """Sizes for small catalogues; the paper's are unknown."""

    codebooks: int = 4
    """M: encoders, codebooks, and ids of an item."""
    words: int = 512
    """D: words of each codebook."""
    latent: int = 128
    """d: width of latents and words."""
    temperature: float = 0.1
    """Temperature of the softmax over minus the squared distances behind the index straight-through."""
    vq_weight: float = 0.03
    """Weight of the codebook and commitment terms. With 1, the encoders all settle on the same clusters."""
    orthogonality: float = 0.005
    """Weight of the orthogonality loss."""


GPU = Config(codebooks=8, words=300, latent=128, hidden=1024, batch_size=4096, reseed_every=1000)
"""For a GPU and millions of items (our design)."""


class MPQ(Tokenizer):
    """M experts, each with a codebook, joined by a gate."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config = config
        self.num_words, self.num_positions = config.words, config.codebooks
        width = width_of(schema["text"]) + width_of(schema["graph"])
        self.encoders = Experts(config.codebooks, width, config.hidden, config.latent)
        self.gate = nn.Linear(width, config.codebooks)
        self.codebooks = Codebooks(config.codebooks, config.words, config.latent, "l2")
        self.decoder = two_layers(config.latent, config.hidden, width)

    @torch.no_grad()
    def prepare(self, data: CatalogueData) -> None:
        """Words by k-means over the latents of the encoders as they start."""
        self.codebooks.start(self.encoders(vector(everything(data.train))))

    def tokens(self, batch: ItemBatch) -> Tokens:
        v = vector(batch)
        chosen = self.codebooks(self.encoders(v))
        decoded = self.decoder(weighted_sum(torch.softmax(self.gate(v), dim=1), chosen.words))
        return Tokens(chosen.codes, torch.ones_like(chosen.codes, dtype=v.dtype), v, decoded)

    def loss(self, batch: ItemBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """L = L_recon + lambda L_orth, and the terms that move the words."""
        v = vector(batch)
        latents = self.encoders(v)
        if self.codebooks.is_due(self.config.reseed_every):
            self.codebooks.reseed(latents)
        chosen = self.codebooks(latents)
        self.codebooks.count(chosen.codes)
        gates = torch.softmax(self.gate(v), dim=1)
        index = index_straight_through(chosen.scores, chosen.codes, self.config.temperature)
        quantised = weigh(index, self.codebooks.words)
        recon = squared_error(v, self.decoder(weighted_sum(gates, quantised)))
        vq, orthogonality = vq_loss(latents, chosen.words, self.codebooks.metric), self.encoders.orthogonality()
        logged = {"recon": recon.detach(), "vq": vq.detach(), "ortho": orthogonality.detach()}
        return recon + self.config.vq_weight * vq + self.config.orthogonality * orthogonality, logged


def vector(batch: ItemBatch) -> Tensor:
    """v = [text, graph], float [B, W]."""
    return torch.cat([batch.text, batch.graph], dim=1)


SYSTEM = System(
    name="mpq",
    title="MPQ: REG4Rec's parallel quantiser",
    paper="https://arxiv.org/abs/2508.15308",
    provenance="states: parallel encoders and codebooks, L2, gate, orthogonality; our design: softmax gate, codebook "
    "and commitment terms, k-means start, re-seeding, sizes; second modality is attributes or a graph",
    task=SEMANTIC_IDS,
    config=Config,
    gpu=GPU,
    baseline="rqvae",
    build=MPQ,
    products=products,
    quick={"words": 16, "hidden": 32, "latent": 8, "batch_size": 32, "reseed_every": 3},
)
