"""Measures of ranking quality, exact with ties, in fp64."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np


class UndefinedError(ValueError):
    """A measure that a part of a data set cannot have: it has no samples, or lacks a class."""


def defined(measures: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The measures by name, those left out that are not defined; any other error is raised."""
    found: dict[str, float] = {}
    for name, measure in measures.items():
        with suppress(UndefinedError):
            found[name] = measure()
    return found


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive [N] scores above a negative, ties counting half.

    Raises UndefinedError when there is only one class, ValueError when a score is not a number.
    """
    positive = _positives(labels, scores)
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        raise UndefinedError(f"AUC needs both classes: {num_positive} positive and {num_negative} negative labels")
    wins = _ranks(np.zeros(len(positive), np.int64), scores)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(wins / (num_positive * num_negative))


def gauc(users: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> float:
    """AUC of each user weighted by his number of samples, over the users [N] who have both classes.

    Raises UndefinedError when no user has both, ValueError when a score is not a number.
    """
    positive = _positives(labels, scores)
    _, user = np.unique(users, return_inverse=True)
    samples = np.bincount(user)
    positives = np.bincount(user, positive)
    pairs = positives * (samples - positives)
    mixed = pairs > 0
    if not mixed.any():
        raise UndefinedError("GAUC needs a user with both classes: every user's labels are all alike")
    rank_sums = np.bincount(user, np.where(positive, _ranks(user, scores), 0.0))
    wins = (rank_sums - positives * (positives + 1) / 2)[mixed]
    return float(np.average(wins / pairs[mixed], weights=samples[mixed]))


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean binary cross-entropy, in nats, of logits [N]. Raises ValueError when a logit is not a number."""
    positive = _positives(labels, logits)
    wide = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, wide) - positive * wide))


def accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Share of logits [N] on the side of 0 of their labels; a logit of 0 counts as negative.

    Raises ValueError when a logit is not a number.
    """
    return float(np.mean(_positives(labels, logits) == (logits > 0)))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's: the correlation of the ranks of two lists [N], ties getting their mean.

    Raises UndefinedError where one of them has no two different values, ValueError where one is not a number.
    """
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("a rank correlation of what is not a number; did training diverge?")
    if min(len(np.unique(first)), len(np.unique(second))) <= 1:
        raise UndefinedError("a rank correlation needs two different values on either side")
    alone = np.zeros(len(first), np.int64)
    return float(np.corrcoef(_ranks(alone, first), _ranks(alone, second))[0, 1])


def _positives(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be two lists of the same length")
    if not len(labels):
        raise UndefinedError("there are no samples to measure")
    if missing := int(np.isnan(scores).sum()):
        raise ValueError(f"{missing} of {len(scores)} scores are not a number; did training diverge?")
    return labels > 0


def _ranks(group: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rank [N] of each score within its group, from 1, ties getting their mean."""
    order = np.lexsort((scores, group))
    group, scores = group[order], scores[order]
    place = np.arange(len(order))
    new_group = np.r_[True, group[1:] != group[:-1]]
    new_value = new_group | np.r_[True, scores[1:] != scores[:-1]]
    tie = np.cumsum(new_value) - 1
    first = np.flatnonzero(new_value)
    last = np.r_[first[1:], len(order)] - 1
    group_start = np.maximum.accumulate(np.where(new_group, place, 0))
    ranks = np.empty(len(order))
    ranks[order] = (first + last)[tie] / 2 - group_start + 1
    return ranks
