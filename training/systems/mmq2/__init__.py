"""MMQ-v2 (ADA-SID, later ADC-SID): semantic ids from content and behaviour, weighted by what behaviour is worth.

"MMQ-v2: Align, Denoise, and Amplify: Adaptive Behavior Mining for Semantic IDs Learning in Recommendation", later
"Taming the Long Tail: Denoising Collaborative Information for Robust Semantic ID Generation", Alibaba, 2025/2026,
https://arxiv.org/abs/2510.25622

Versions 1 and 3 were at hand. They state: behaviour vectors of a SASRec with their norms, projections, experts with
cosine quantisers, the router and its sigmoid of the norm, the strength of alignment with alpha = 10 and beta = 9, the
contrastive losses, load-balanced sparsity with its adaptive lambda, weights beside the ids; K = 100 and six ids on
public data. Reconstructed: the quoted share is that of active behaviour ids. Our design: theta solved from that share,
lambda over the batch, its start, step and range, exported weights over their running mean, weights of
the losses, what moves the words (as for MMQ), behaviour vectors divided by their root mean square norm and read with
elements of size one, fp64 for served ids, all other sizes.

Differs from the paper: the second modality is attributes or a knowledge graph (`graph`) where the paper has images; it
is no image. There is no auxiliary reconstruction, which the paper does not print for this version. An inactive
behaviour id has weight 0 and keeps the number of its nearest word, which then means nothing.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from training.data.catalogue import ItemBatch, ItemSplit
from training.layers.experts import squared_error
from training.layers.quantiser import vq_loss
from training.system import Predict, System, Upstream
from training.systems.mmq2.alignment import alignment_loss
from training.systems.mmq2.model import MMQ2, Config, Encoded, Vectors
from training.systems.mmq2.richness import alignment_strength
from training.tasks.semantic_ids import SEMANTIC_IDS, judge, metrics, products, width_read

__all__ = ["GPU", "MMQ2", "SYSTEM", "Config", "loss"]

GPU = Config(
    words=300, shared=2, text=2, graph=2, behaviour=4, hidden=1024, common=512, gate_hidden=256, batch_size=16384
)
"""The third version's industrial codebooks, for a GPU; widths and batch are our design."""

TOLERANCE = 0.04
"""How far the share of active behaviour ids may be off its target without being held against the weights."""


def loss(module: nn.Module, batch: ItemBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """L = 12 L_recon + L_align + L_reg + L_vq."""
    assert isinstance(module, MMQ2)
    config, x = module.config, module.vectors(batch)
    encoded = module.encode(x)
    if module.codebooks.is_due(config.reseed_every):
        module.codebooks.reseed(encoded.latents)
        encoded = module.encode(x)
    module.codebooks.count(encoded.chosen.codes)
    recon = squared_error(module.target(x), module.decode(encoded))
    align = align_to_behaviour(module, x, encoded)
    vq = vq_loss(encoded.latents, encoded.chosen.words, module.codebooks.metric)
    routed, target = module.routed(encoded), module.sparsity.target(x.richness)
    sparsity = module.sparsity.loss(routed, target)
    module.sparsity.adapt(routed.detach(), target)
    logged = {"recon": recon.detach(), "align": align.detach(), "vq": vq.detach()}
    logged |= {"lambda": module.sparsity.strength.clone(), "active": (routed > 0).float().mean()}
    return config.recon_weight * recon + config.align_weight * align + sparsity + config.vq_weight * vq, logged


def align_to_behaviour(module: MMQ2, x: Vectors, encoded: Encoded) -> Tensor:
    """L_align of a batch, each item as strongly as its behaviour vector is rich."""
    config, projected = module.config, encoded.projected
    if config.detach_behaviour:
        projected = projected._replace(behaviour=projected.behaviour.detach())
    strength = alignment_strength(x.richness, config.alpha, config.beta)
    return alignment_loss(projected, strength, config.contrast_temperature, config.alignment)


def evaluate(module: MMQ2, predict: Predict, split: ItemSplit) -> dict[str, float]:
    """Of the items; also `active_share`, the share of behaviour ids with a weight above 0, and `kept_loss`, by which
    the best weights are chosen: the reconstruction loss, and ten times what the share is too far off its target."""
    judged = judge(module, predict, split)
    routed = judged.weights[:, -module.config.behaviour :]
    active = float((routed > 0).mean())
    measured = metrics(module, judged, width_read(module, split))
    too_far = max(0.0, abs(active - wanted(module, split)) - TOLERANCE)
    return {**measured, "active_share": active, "kept_loss": measured["recon_loss"] + 10 * too_far}


def wanted(module: MMQ2, split: ItemSplit) -> float:
    """Share of behaviour ids that the items of a split are to have active."""
    richness = module.richness.of(module.behaviour[torch.from_numpy(split.item)].norm(dim=1))
    return float(1 - module.sparsity.target(richness).mean())


SYSTEM = System(
    name="mmq2",
    title="MMQ-v2 (ADA-SID): ids from content and weighted behaviour",
    paper="https://arxiv.org/abs/2510.25622",
    provenance="states: norms, strength of alignment, contrastive losses, router, sparsity, weights; our design: "
    "theta, lambda's constants, what moves the words, sizes; second modality is attributes or a graph",
    task=SEMANTIC_IDS,
    config=Config,
    gpu=GPU,
    baseline="mmq",
    build=MMQ2,
    upstream=lambda config: (Upstream(system="sasrec", config={}),),
    stages=lambda config: (replace(SEMANTIC_IDS.stage(config), loss=loss, monitor="kept_loss"),),
    evaluate=evaluate,
    products=products,
    quick={"words": 64, "hidden": 32, "latent": 8, "batch_size": 32, "reseed_every": 3},
)
