"""DMAE: Distribution-Guided Multimodal-Interest Auto-Encoder.

Zhang et al., Alibaba (Lazada), CIKM 2025, https://arxiv.org/abs/2508.14485

Only the abstract and public summaries were at hand. They state: modalities are fused at the behaviour, not at the item;
three units: MIEU turns similarity to the target and click time into a vector for each behaviour and modality, by the
scaled similarity times the embedding of its bucket; MIFU fuses the modalities in the context of the behaviours; IDDU, a
decoder, makes the encoded interest restore the distribution of the real one, in training alone. Reconstructed: floor as
the bracket of the bucket's number. Our design: the continuous branch beside the bucket, the form of time (buckets of
how much older than the newest event one is, so that no clock is needed), the value of the event in MIEU (histories here
hold what was disliked too), cross attention or a gate as MIFU, target, temperature and loss of IDDU, pooling, the head
(target attention over ids, whose first layer also reads the interests), masks of missing vectors, the grid of
similarities, all sizes. The modalities are text and graph, no images: sentence vectors of titles, and attributes or
facts of a knowledge graph, all frozen. Films of one series are near duplicates in the graph, so that its last buckets
mean as much as "of the same series".

Differs from the paper: unknown where it could not be read. No modality is an image. A target's own earlier events do
not count. Only the newest 50 events are read, as attention among them costs their square for each candidate; the form
`gate` costs their number.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from training.data.click import AGES, HISTORY, ClickBatch, ClickSplit
from training.needs import TEXTS
from training.system import Column, Predict, Stage, System
from training.systems.dmae.model import DMAE, Config, decoder_losses, dmae_loss
from training.systems.dmae.servables import explained, servables
from training.systems.dmae.units import distribution_loss, mean_where, rank_correlation
from training.tasks.click import CLICK

__all__ = ["DMAE", "SYSTEM", "Config"]


def stages(config: Config) -> tuple[Stage, ...]:
    """One stage, end to end, with the decoder's loss where it has a weight."""
    return (replace(CLICK.stage(config), loss=dmae_loss),)


class Diagnosis(nn.Module):
    """Per sample: logit; means over the modalities of the rank correlation of decoded and true similarities, of L_dec,
    and of L_dec for a decoder that says nothing; NaN where no modality has two behaviours of different similarity."""

    def __init__(self, model: DMAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: ClickBatch) -> Tensor:
        model = self.model
        prediction = model.predicted(batch)
        losses, correlations, silent = decoder_losses(model, prediction), [], []
        decoded = model.decode(prediction.interests)
        for found, true, one in zip(decoded, prediction.similarity, prediction.interests, strict=True):
            correlations.append(rank_correlation(found, true, one.mask))
            silent.append(distribution_loss(torch.zeros_like(true), true, one.mask, model.config.temperature))
        there = [~one.isnan() for one in correlations]
        means = (mean_where(values, there) for values in (correlations, losses, silent))
        return torch.stack([prediction.logits, *means], dim=1)


def evaluate(model: DMAE, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """The task's measures, and what the decoder restores of the similarities, where any row has two of them."""
    logits, *decoder = predict(Diagnosis(model), split).T
    names = ("decoder_rank", "decoder_loss", "silent_loss")
    measured = CLICK.evaluate(model, lambda module, part: logits, split)
    there = zip(names, decoder, strict=True)
    return measured | {name: float(np.nanmean(one)) for name, one in there if not np.isnan(one).all()}


def variant(config: Config) -> str:
    """What differs from the whole system, by name."""
    parts = [
        *([] if config.fusion == "attention" else [{"gate": "gate", "none": "unfused"}[config.fusion]]),
        *([] if config.decoder_weight else ["undecoded"]),
        *(config.modalities if len(config.modalities) == 1 else []),
    ]
    return "-".join(parts)


SYSTEM = System(
    name="dmae",
    title="DMAE: multimodal interests fused at the behaviour",
    paper="https://arxiv.org/abs/2508.14485",
    provenance="states: three units, similarity times bucket; reconstructed: floor; our design: time, value, forms of "
    "fusion and decoder, head, sizes; modalities are text and graph",
    task=CLICK,
    config=Config,
    baseline="early_fusion",
    controls=("din", "recency_pooling"),
    build=DMAE,
    reads=frozenset({HISTORY, AGES}),
    needs=(TEXTS,),
    stages=stages,
    evaluate=evaluate,
    columns=(Column(title="rank correlation of the decoder", metric="decoder_rank"),),
    served=servables,
    explained=explained,
    quick={"max_length": 12},
    variant=variant,
)
