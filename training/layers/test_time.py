"""What methods share that change an answer while a model serves: a comparison with the model's own answers."""

import numpy as np

from training.metrics import auc, log_loss


def against_base(prefix: str, labels: np.ndarray, base: np.ndarray, changed: np.ndarray) -> dict[str, float]:
    """AUC and log loss of a base model's logits and of the changed ones on some rows, named `prefix` first; empty where
    a class is missing."""
    if len(set(labels.tolist())) < 2:
        return {}
    measured = {
        "auc": auc(labels, changed),
        "base_auc": auc(labels, base),
        "gain": auc(labels, changed) - auc(labels, base),
        "log_loss": log_loss(labels, changed),
        "base_log_loss": log_loss(labels, base),
    }
    return {f"{prefix}{name}": value for name, value in measured.items()}
