"""How good GSVR is by how often training met a user in the scenario of a sample."""

from functools import partial

import numpy as np
import torch

from training.data.click import ClickSplit
from training.metrics import auc, defined
from training.system import Predict
from training.systems.gsvr.model import GSVR
from training.tasks.click import measures

CELLS = (
    ("auc_cell_0", "0", 0, 0),
    ("auc_cell_2", "1 to 2", 1, 2),
    ("auc_cell_10", "3 to 10", 3, 10),
    ("auc_cell_more", "above 10", 11, 2**62),
)
"""Metric, and the training samples of the (user, scenario) that its samples have."""


def cell_counts(model: GSVR, split: ClickSplit) -> np.ndarray:
    """int64 [len(split)]: training samples of each sample's (user, scenario), true scenarios or by lot."""
    batch = split.batch(np.arange(len(split)))
    return model.users.cells.count(batch.user, model.scenario(batch)).numpy()


def evaluate(model: GSVR, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """The task's measures, and AUC by the count of the user's cell where it is defined."""
    logits = predict(model, split)
    with torch.no_grad():
        counts = cell_counts(model, split)
    inside = {metric: (counts >= least) & (counts <= most) for metric, _, least, most in CELLS}
    found = {metric: partial(auc, split.label[rows], logits[rows]) for metric, rows in inside.items()}
    return measures(split, logits) | defined(found)
