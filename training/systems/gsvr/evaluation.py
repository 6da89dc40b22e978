"""How good GSVR is by how often training met a user in the scenario of a sample."""

from functools import partial

import numpy as np

from training.data.click import ClickSplit
from training.metrics import auc, defined
from training.system import Predict
from training.systems.gsvr.model import GSVR
from training.tasks.click import measures
from training.tasks.click_slices import scenarios_of

CELLS = (
    ("auc_cell_0", "0", 0, 0),
    ("auc_cell_2", "1 to 2", 1, 2),
    ("auc_cell_10", "3 to 10", 3, 10),
    ("auc_cell_more", "above 10", 11, 2**62),
)
"""Metric, and the training samples of the (user, scenario) that its samples have."""


def cell_counts(split: ClickSplit) -> np.ndarray:
    """int64 [len(split)]: training samples of each sample's (user, scenario). The scenario is the true one in a model
    whose cells are by lot too, so that each column holds the same samples of all models."""
    scenario, scenes = scenarios_of(split), split.source.user_counts.shape[1]
    return split.source.user_counts[split.user, np.where((scenario >= 0) & (scenario < scenes), scenario, 0)]


def evaluate(model: GSVR, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """The task's measures, how many samples have a user's cell of each count, and their AUC where it is defined."""
    logits, counts = predict(model, split), cell_counts(split)
    inside = {metric: (counts >= least) & (counts <= most) for metric, _, least, most in CELLS}
    found = {metric: partial(auc, split.label[rows], logits[rows]) for metric, rows in inside.items()}
    samples = {metric.replace("auc", "samples", 1): float(rows.sum()) for metric, rows in inside.items()}
    return measures(split, logits) | defined(found) | samples
