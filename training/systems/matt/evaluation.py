"""How MATT is judged: against its own base, on all rows, on rows of rare combinations, and on corrupted rows.

Legend: N samples of a split, F fields.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.path_sampling import instance_keys
from training.data.altered import CORRUPTED_FIELDS, Damaged, corrupt
from training.data.click import ClickBatch, ClickSplit
from training.layers.columns import Features
from training.layers.test_time import against_base
from training.systems.matt.model import Matt
from training.tasks.click import measures, quality

RARE_COUNT = 5
"""A sample is of rare combinations where half of its pairs of a user's and an item's field, the pair of the anchors
aside, occurred at most so often in training, as the frequencies bound it from below."""

CHUNK = 4096
Predict = Callable[[nn.Module, Any], np.ndarray]


class Answers(nn.Module):
    """Per sample: the base model's logit, MATT's, and the spread of its paths.

    A sample's request key is its user, so that its paths are the same in every batch.
    """

    def __init__(self, matt: Matt) -> None:
        super().__init__()
        self.matt = matt

    def forward(self, batch: ClickBatch) -> Float[Tensor, "B 3"]:
        items = batch.ids[:, self.matt.anchors[1]]
        answer = self.matt.predict(Features(batch.ids, batch.dense, batch.sets), instance_keys(batch.user, items))
        odds = torch.logit(answer.probability.double()).to(answer.logit.dtype)
        return torch.stack([answer.logit, odds, answer.spread], dim=1)


def rare(matt: Matt, ids: np.ndarray) -> np.ndarray:
    """bool [N]: which samples are of rare combinations; training counts alone decide."""
    crossing = np.zeros((matt.num_fields, matt.num_fields), bool)
    crossing[: matt.base.num_request_fields, matt.base.num_request_fields :] = True
    crossing[matt.anchors] = False
    frequencies = matt.frequencies
    parts = np.array_split(ids, max(1, len(ids) // CHUNK))
    return np.concatenate([np.median(frequencies.lower(p).pairs[:, crossing], axis=1) <= RARE_COUNT for p in parts])


def evaluate(matt: Matt, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """Quality of MATT and of its base (`base_`): on all rows, on rows of rare combinations, on the others, and with
    corrupted fields. `gain` is MATT's AUC less the base's, `spread` the mean spread over all rows.
    """
    answers = predict(Answers(matt), split)
    base, combined, spread = answers.T
    measured = measures(split, combined) | {f"base_{name}": value for name, value in quality(split, base).items()}
    all_ids = split.features(np.arange(len(split))).ids
    is_rare = rare(matt, all_ids)
    measured |= {"gain": measured["auc"] - measured["base_auc"]} if "auc" in measured else {}
    measured |= {"spread": float(spread.mean()), "rare_share": float(is_rare.mean())}
    measured |= against_base("rare_", split.label[is_rare], base[is_rare], combined[is_rare])
    measured |= against_base("head_", split.label[~is_rare], base[~is_rare], combined[~is_rare])
    for fields in CORRUPTED_FIELDS:
        ids = corrupt(all_ids, matt.base.embedding.sizes, matt.anchors, fields)
        damaged = predict(Answers(matt), Damaged(split, ids))
        measured |= against_base(f"corrupt{fields}_", split.label, damaged[:, 0], damaged[:, 1])
    return measured
