"""How DGenCTR is judged beside its logits: how well each field of a row is generated from all others, and how much
of their width the fields' vectors use.

Legend: B rows, F fields.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.altered import spaced
from training.data.click import ClickBatch, ClickSplit
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator
from training.layers.field_likelihood import log_likelihood, log_share, of_field
from training.layers.fields import FieldEmbedding
from training.tasks.click import CLICK

ROWS = 2048
"""Of a split, evenly spaced, on which the generator is measured."""
Predict = Callable[[nn.Module, Any], np.ndarray]


class Surprise(nn.Module):
    """Per row and field of kind id, given all other fields and no label: -log p of its value by the generator, and by
    how often training has it; NaN for what is unknown."""

    def __init__(self, module: FieldGenerator) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: ClickBatch) -> Float[Tensor, "B F 2"]:
        module, x = self.module, Features(batch.ids, batch.dense, batch.sets)
        fields, known, generator = module.embedding(x), module.embedding.known(x.ids), module.generator
        found = torch.full((*known.shape, 2), torch.nan, dtype=fields.dtype, device=fields.device)
        for place, field in enumerate(module.embedding.fields):
            if field.kind == "id":
                masks = torch.zeros_like(known, dtype=torch.bool)
                masks[:, place] = True
                direction = generator.directions(generator.states(module.masked(fields, masks)))[:, place]
                own = known[:, place]
                likely = log_likelihood(module.embedding, place, own, direction, generator.temperature)
                both = torch.stack([-likely, -log_share(module.embedding, place, own).to(likely)], dim=1)
                found[:, place] = torch.where(own[:, None] > 0, both, torch.nan)
        return found


def evaluate(module: nn.Module, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """The task's metrics; `generation`, the mean over the fields of -log p of a value given the others; `nats_` of each
    field, by how much that is below what its frequencies give, where rows have values that training knows;
    `abundance`."""
    assert isinstance(module, FieldGenerator)
    measured = CLICK.evaluate(module, predict, split) | {"abundance": abundance(module.embedding)}
    surprise = predict(Surprise(module), spaced(split, ROWS)).astype(np.float64)
    known = ~np.isnan(surprise[..., 0]).all(axis=0)
    if not known.any():
        return measured
    model, frequency = np.nanmean(surprise[:, known], axis=0).T
    names = [field.name for field, there in zip(module.embedding.fields, known, strict=True) if there]
    gains = {f"nats_{name}": float(gain) for name, gain in zip(names, frequency - model, strict=True)}
    return measured | {"generation": float(model.mean())} | gains


@torch.no_grad()
def abundance(embedding: FieldEmbedding) -> float:
    """Sum of the singular values of the vectors that training met over the largest one, mean over the fields of kind id
    (Guo et al., "On the Embedding Collapse when Scaling up Recommendation Models", ICML 2024,
    https://arxiv.org/abs/2310.04400): 1 where all lie on a line, at most the width."""
    found = []
    for place, (field, own) in enumerate(
        zip(embedding.fields, embedding.rows.weight.split(embedding.sizes), strict=True)
    ):
        if field.kind == "id":
            singular = torch.linalg.svdvals(own[of_field(embedding, place) > 0].double())
            found.append(float(singular.sum() / singular.max()))
    return float(np.mean(found))
