"""A run whose tables are stored in fewer bytes than they were trained in: what that costs on its test part."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from recserve.runs import UNROUNDED, Trained
from training.fit import predict
from training.layers.stored import Form, store_tables
from training.servable import Signature
from training.system import Column


@dataclass(frozen=True, kw_only=True)
class Storing:
    """In what, and at which price at most."""

    form: Form
    most_loss: float
    """Of each metric that judges the run's task."""


class Price(NamedTuple):
    """One metric that judges, before the tables were rounded and after."""

    title: str
    metric: str
    unrounded: float
    rounded: float
    loss: float
    """What it is worse by; below 0 where it is better."""


def stored(trained: Trained, storing: Storing) -> Trained:
    """The run with rounded tables, measured again. Raises ValueError where a metric that judges is worse by more than
    the most, and for values that the form cannot hold."""
    module = copy.deepcopy(trained.module)
    store_tables(module, storing.form)
    test = trained.system.measure(module, predict, trained.data.test)
    before = {one.metric: trained.metrics["test"][one.metric] for one in _judges(trained)}
    rounded = trained._replace(module=module, metrics={**trained.metrics, "test": test, UNROUNDED: before})
    for price in prices(rounded):
        if not price.loss <= storing.most_loss:
            raise ValueError(
                f"{trained.folder}: with tables as {storing.form} {price.title} is {price.rounded:.4f}, not "
                f"{price.unrounded:.4f}, which is more than --tables-max-loss {storing.most_loss:g} allows; choose "
                "another form, or allow more"
            )
    return rounded


def prices(trained: Trained) -> list[Price]:
    """Of a run whose tables are rounded."""
    before, after = trained.metrics[UNROUNDED], trained.metrics["test"]
    return [
        Price(
            one.title, one.metric, old := before[one.metric], new := after[one.metric], _worse(old, new, one.direction)
        )
        for one in _judges(trained)
    ]


def marked(signatures: Sequence[Signature], unrounded: Sequence[Signature], form: Form) -> tuple[Signature, ...]:
    """The models of a run with rounded tables as such; those that clients ask know what they answered before."""
    before = {one.name: one.eager for one in unrounded if one.origin.part_of is None}
    return tuple(replace(one, tables=form, unrounded=before.get(one.name)) for one in signatures)


def _judges(trained: Trained) -> list[Column]:
    return [one for one in (*trained.system.task.columns, *trained.system.columns) if one.judges]


def _worse(before: float, after: float, direction: str | None) -> float:
    return after - before if direction == "min" else before - after
