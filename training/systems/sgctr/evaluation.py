"""How SGCTR is judged: beside its generator's own logits, on all rows and on the rows that MATT's table damages.

Legend: B rows, F fields.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.altered import CORRUPTED_FIELDS, Damaged, corrupt
from training.data.click import ClickBatch, ClickSplit
from training.layers.columns import Features
from training.layers.test_time import against_base
from training.systems.sgctr.model import Sgctr
from training.tasks.click import quality

Predict = Callable[[nn.Module, Any], np.ndarray]
_FIRST = 3
"""Columns of `Answers` before those of the fields."""
_MASKED = 0.5


class Answers(nn.Module):
    """Per row: the generator's logit, the mended one, 1 where the row goes through the rounds; then of each field
    whether the first round masks it, or would."""

    def __init__(self, module: Sgctr) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: ClickBatch) -> Float[Tensor, "B K"]:
        module, x = self.module, Features(batch.ids, batch.dense, batch.sets)
        first = module.base.embedding(x)
        states = module.base.denoiser.states(first)
        consistency = module.consistency(states, first)
        masks = [module.lowest(consistency, count) for count in module.counts[:1]]
        parts = [module.base.denoiser.logit(states), module.logits(x), module.doubt(consistency) > 0]
        return torch.cat(
            [torch.stack([one.to(first) for one in parts], dim=1), *(one.to(first) for one in masks)], dim=1
        )


def evaluate(module: Sgctr, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """Quality of SGCTR and of its generator (`base_`), `gain` the difference of their AUC, `early_exit` the share of
    the rows that the generator answers alone; the same with damaged fields (`corrupt1_` and so on), and there the share
    of the masked fields that are damaged (`found`), beside that of masks drawn evenly (`by_chance`)."""
    answers = predict(Answers(module), split)
    measured = quality(split, answers[:, 1])
    measured |= {f"base_{name}": value for name, value in quality(split, answers[:, 0]).items()}
    measured |= {"gain": measured["auc"] - measured["base_auc"]} if "auc" in measured else {}
    measured |= {"early_exit": 1 - float(answers[:, 2].mean())}
    clean = split.features(np.arange(len(split))).ids
    for count in CORRUPTED_FIELDS:
        ids = corrupt(clean, module.base.embedding.sizes, module.anchors, count)
        damaged = predict(Answers(module), Damaged(split, ids))
        prefix = f"corrupt{count}_"
        measured |= against_base(prefix, split.label, damaged[:, 0], damaged[:, 1])
        measured |= {f"{prefix}early_exit": 1 - float(damaged[:, 2].mean())}
        masks = damaged[:, _FIRST:] > _MASKED
        if masks.any():
            measured |= {
                f"{prefix}found": float(masks[ids != clean].sum() / masks.sum()),
                f"{prefix}by_chance": float((ids != clean).sum() / (len(ids) * len(module.free))),
            }
    return measured
