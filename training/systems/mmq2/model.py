"""MMQ-v2's modules: projections to align, experts of content and behaviour, the router that weights behaviour's ids.

Legend: B items, N items of the catalogue, P = Ns + Nt + Ng + Nb positions (shared, text, second modality, behaviour),
K words, d width of latents, D width of the behaviour vectors, h common width, W width of what is reconstructed.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch
from training.layers.experts import Experts, two_layers, weighted_sum
from training.layers.quantiser import Codebooks, Quantised, index_straight_through, value_straight_through, weigh
from training.layers.tokenizer import Tokenizer, Tokens, everything
from training.schema import Schema, size_of, width_of
from training.systems.mmq2.richness import Richness, Sparsity
from training.tasks.semantic_ids import TokenizerConfig
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class Config(TokenizerConfig):
    """The paper's sizes for public data where they are stated, else ours."""

    shared: int = 1
    """Experts over all three projections."""
    text: int = 1
    """Experts over the text alone."""
    graph: int = 1
    """Experts over the second modality alone."""
    behaviour: int = 3
    """Nb: experts over the behaviour vector alone, each weighted by the router."""
    common: int = 128
    """h: width to which text, second modality and behaviour are projected, to be aligned."""
    gate_hidden: int = 64
    """Hidden units of the gates and the router."""
    alpha: float = 10.0
    """Sharpness with which the strength of alignment rises with an item's information richness."""
    beta: float = 9.0
    """Place where it rises: richness beta / alpha has half the strength of a sigmoid."""
    contrast_temperature: float = 0.07
    """Temperature of the contrastive losses."""
    alignment: Literal["v3", "v1"] = "v3"
    """Form of alignment. v3: text and second modality each look for their behaviour; v1: behaviour looks for the sum of
    both."""
    detach_behaviour: bool = False
    """Alignment that leaves behaviour's projection as it is."""
    active_share: float = 0.6
    """Share of behaviour ids that are to be active over the catalogue."""
    sparsity_start: float = 1e-2
    """Value of lambda at the start."""
    sparsity_step: float = 1.05
    """Factor by which lambda changes with each step. ReMoE's 1.2 and a start at 1e-8 overshoot in hundreds of steps."""
    recon_ste: Literal["index", "value"] = "index"
    """Input of the decoder: words with a gradient to every word (index), or latents in the place of words, as the paper
    prints it, which moves no word (value)."""
    vq_weight: float = 0.3
    """Weight of the terms that pull words and latents together; 0 with recon_ste `value` is the printed form."""
    temperature: float = 0.1
    """Temperature of the softmax behind the index straight-through."""
    recon_weight: float = 12.0
    """Weight of the reconstruction of all three vectors."""
    align_weight: float = 1.0
    """Weight of the alignment."""
    reseed_every: int = 30
    """Steps after which words that none of them used are put where a random item is."""
    batch_size: int = 512
    """Items of a step, which are each other's negatives."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shared", "text", "graph", "behaviour"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; each group needs at least 1 expert")
        if not 1 / self.behaviour <= self.active_share <= 1:
            raise ValueError(
                f"active_share is {self.active_share}; with {self.behaviour} behaviour experts it must lie in "
                f"[{1 / self.behaviour:.3g}, 1]"
            )


class Vectors(NamedTuple):
    """What the modules read of items."""

    text: Float[Tensor, "B 384"]
    graph: Float[Tensor, "B G"]
    behaviour: Float[Tensor, "B D"]
    """Divided by the catalogue's root mean square norm; networks read it times sqrt(D)."""
    richness: Float[Tensor, " B"]
    """N_norm in [0, 1]."""


class Projected(NamedTuple):
    """h_t, h_v, h_b: what alignment compares."""

    text: Float[Tensor, "B h"]
    graph: Float[Tensor, "B h"]
    behaviour: Float[Tensor, "B h"]


class Encoded(NamedTuple):
    """Items as latents and words."""

    projected: Projected
    latents: Float[Tensor, "B P d"]
    weights: Float[Tensor, "B P"]
    """1 for shared experts, a softmax for each content modality, the router's R >= 0 for behaviour."""
    chosen: Quantised


class MMQ2(Tokenizer):
    """Content and behaviour experts with private cosine codebooks."""

    reads = ("text", "graph", "behaviour")
    behaviour: Float[Tensor, "N D"]
    """The sequence model's vectors, as they came."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config = config
        widths = [width_of(schema[name]) for name in self.reads]
        if not widths[2]:
            raise ValueError(
                "item_vectors are missing; mmq2 needs the behaviour vectors of a sasrec run: train it first"
            )
        hidden, d = config.hidden, config.latent
        self.groups = [config.shared, config.text, config.graph, config.behaviour]
        self.num_words, self.num_positions = config.words, sum(self.groups)
        self.projections = nn.ModuleList(two_layers(width, hidden, config.common) for width in widths)
        inputs = [3 * config.common, *widths]
        self.experts = nn.ModuleList(
            Experts(count, width, hidden, d) for count, width in zip(self.groups, inputs, strict=True)
        )
        self.gates = nn.ModuleList(
            two_layers(width, config.gate_hidden, count) for count, width in zip(self.groups[1:], widths, strict=True)
        )
        self.codebooks = Codebooks(self.num_positions, config.words, d, "cosine")
        self.decoder = two_layers(d, hidden, sum(widths))
        self.richness = Richness()
        self.sparsity = Sparsity(config.behaviour, config.sparsity_start, config.sparsity_step)
        self.register_buffer("behaviour", torch.zeros(size_of(schema.key("item")), widths[2]))
        self.referred = {"behaviour": Axis((schema.key("item"),))}
        """See `training.warm_start`: weights mean nothing beside the vectors of another run."""

    @torch.no_grad()
    def prepare(self, data: CatalogueData) -> None:
        """Norms of the catalogue's behaviour vectors, theta, and words by k-means over the latents as they start.

        Raises ValueError where there are no behaviour vectors or their norms say nothing.
        """
        self.behaviour.copy_(data.vectors.behaviour)
        norms = self.richness.prepare(self.behaviour[1:])
        self.sparsity.prepare(self.richness.of(norms), self.config.active_share)
        self.codebooks.start(self.encode(self.vectors(everything(data.train))).latents)

    def vectors(self, batch: ItemBatch) -> Vectors:
        """Of a batch; items of the catalogue may come without the behaviour vectors that the module was prepared
        with."""
        behaviour = batch.behaviour if batch.behaviour.shape[1] else self.behaviour[batch.item]
        return self.vectors_of(batch.text, batch.graph, behaviour)

    def vectors_of(self, text: Tensor, graph: Tensor, behaviour: Tensor) -> Vectors:
        """Of any items, whose behaviour vectors are of the same sequence model, not normalised."""
        return Vectors(text, graph, behaviour / self.richness.scale, self.richness.of(behaviour.norm(dim=1)))

    def inputs(self, x: Vectors) -> tuple[Tensor, Tensor, Tensor]:
        """What networks read: behaviour with elements of size one, so that the router tells items apart from its
        start, half of them active."""
        return x.text, x.graph, x.behaviour * x.behaviour.shape[1] ** 0.5

    def project(self, x: Vectors) -> Projected:
        return Projected(*(layers(part) for layers, part in zip(self.projections, self.inputs(x), strict=True)))

    def weights(self, x: Vectors) -> Float[Tensor, "B P"]:
        """Ones, the content's gates, and R."""
        text, graph = (layers(part) for layers, part in zip(self.gates[:2], self.inputs(x)[:2], strict=True))
        ones = x.text.new_ones(x.text.shape[0], self.config.shared)
        return torch.cat([ones, text.softmax(1), graph.softmax(1), self.router(x)], dim=1)

    def router(self, x: Vectors) -> Float[Tensor, "B Nb"]:
        """R = sigmoid(N_norm) * relu(MLP(e_b) + b)."""
        return torch.sigmoid(x.richness)[:, None] * torch.relu(self.gates[2](self.inputs(x)[2]))

    def encode(self, x: Vectors) -> Encoded:
        projected = self.project(x)
        inputs = (torch.cat(projected, dim=1), *self.inputs(x))
        latents = torch.cat([group(part) for group, part in zip(self.experts, inputs, strict=True)], dim=1)
        return Encoded(projected, latents, self.weights(x), self.codebooks(latents))

    def decode(self, encoded: Encoded) -> Float[Tensor, "B W"]:
        """From the weighted words, with the gradient of the configuration's straight-through estimator."""
        chosen = encoded.chosen
        if self.config.recon_ste == "index":
            index = index_straight_through(chosen.scores, chosen.codes, self.config.temperature)
            return self.decoder(weighted_sum(encoded.weights, weigh(index, self.codebooks.words)))
        latents, words = (weighted_sum(encoded.weights, part) for part in (encoded.latents, chosen.words))
        return self.decoder(value_straight_through(latents, words))

    def routed(self, encoded: Encoded) -> Float[Tensor, "B Nb"]:
        """R of each behaviour expert."""
        return encoded.weights[:, -self.config.behaviour :]

    def exported(self, x: Vectors) -> Float[Tensor, "B P"]:
        """What generators are to make of each id: 1 for content, for behaviour R over the mean of what is active.

        Cosine ids do not see the norm of a word, so R times a word's norm is all that training settles; the mean makes
        R comparable with content's 1 (our design).
        """
        content = x.text.new_ones(x.text.shape[0], self.num_positions - self.config.behaviour)
        return torch.cat([content, self.router(x) / self.sparsity.active_mean], dim=1)

    def target(self, x: Vectors) -> Float[Tensor, "B W"]:
        """What is reconstructed: all three vectors."""
        return torch.cat([x.text, x.graph, x.behaviour], dim=1)

    def tokens(self, batch: ItemBatch) -> Tokens:
        x = self.vectors(batch)
        encoded = self.encode(x)
        decoded = self.decoder(weighted_sum(encoded.weights, encoded.chosen.words))
        return Tokens(encoded.chosen.codes, self.exported(x), self.target(x), decoded)
