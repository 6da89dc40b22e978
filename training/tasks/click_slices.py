"""Measures of click prediction within scenarios, and on items that training hardly saw."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from training.data.click import ClickSplit
from training.metrics import auc, defined, gauc
from training.system import Column

COLD = 5
"""Training events from which on an item is not cold."""
SLICES = (
    Column(title="S-GAUC", metric="s_gauc"),
    Column(title="AUC, cold items", metric="auc_cold"),
    Column(title="AUC, unseen items", metric="auc_unseen"),
)
"""What a data set may have none of: scenarios, items with fewer than `COLD` training events, items with none."""
_FEWEST = 10
"""Samples of each class that a scenario needs for columns of its own."""


def sliced(split: ClickSplit, logits: np.ndarray) -> dict[str, float]:
    """Of logits [len(split)] in sample order: AUC and GAUC of each scenario, S-GAUC, and AUC on cold and on unseen
    items, where they are defined."""
    return dict(_by_scenario(split, logits)) | _cold(split, logits)


def scenarios_of(split: ClickSplit) -> np.ndarray:
    """int64 [len(split)]: the scenario of each sample."""
    return split.source.scenario.of(split.places, split.source.log.item[split.places])


def s_gauc(scenario: np.ndarray, users: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> float:
    """AUC of each user in each scenario, weighted by the number of samples, over the pairs that have both classes.

    Raises UndefinedError where none has both.
    """
    _, pair = np.unique(np.stack([scenario, users]), axis=1, return_inverse=True)
    return gauc(pair, labels, scores)


def _by_scenario(split: ClickSplit, logits: np.ndarray) -> Iterator[tuple[str, float]]:
    """Columns of the scenarios in which each class is seen often enough and some user has both."""
    field = split.source.scenario.field
    if field is None:
        return
    scenario = scenarios_of(split)
    yield from defined({"s_gauc": partial(s_gauc, scenario, split.user, split.label, logits)}).items()
    for number in np.unique(scenario).tolist():
        inside = scenario == number
        label, user, score = split.label[inside], split.user[inside], logits[inside]
        if min((label > 0).sum(), (label <= 0).sum()) < _FEWEST:
            continue
        named = field.values[number] if field.values else str(number)
        found = {"auc": partial(auc, label, score), "gauc": partial(gauc, user, label, score)}
        yield from ((f"{name} {field.name}={named}", value) for name, value in defined(found).items())


def _cold(split: ClickSplit, logits: np.ndarray) -> dict[str, float]:
    met = split.source.item_counts[split.source.log.item[split.places]]
    rows = {"auc_cold": met < COLD, "auc_unseen": met == 0}
    return defined({name: partial(auc, split.label[one], logits[one]) for name, one in rows.items()})
