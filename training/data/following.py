"""Users' fields that follow from their histories (`training.schema.Follows`): before each event, and after all.

A server works the same out of the live history of a user (`serving.steps.followed`).

Axes: N events, U users with the unknown one, I items with the unknown one.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from training.data.log import Log
from training.schema import Follows


def user_side(
    events: pl.DataFrame, rules: Mapping[str, Follows], items: Mapping[str, np.ndarray]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The fields of some rules by name: before each event, in the events' order, from the strictly earlier ones, and
    after all, by user, 0 being somebody whom nobody has seen.

    `items`: what the rules follow, int64 [I] by name of the item's field.
    """
    log = Log(events)
    before = {name: np.empty(len(log), np.int64) for name in rules}
    for name, rule in rules.items():
        before[name][log.row] = _newest(events, log, rule, items[rule.field], log.past_start, log.past_end)
    users = np.arange(int(log.user.max()) + 1)
    return pl.DataFrame(before), pl.DataFrame(
        {name: after(events, log, rule, items[rule.field], users) for name, rule in rules.items()}
    )


def after(events: pl.DataFrame, log: Log, rule: Follows, of_items: np.ndarray, users: np.ndarray) -> np.ndarray:
    """One field of these users after all events, int64 [len(users)]; `log` is that of `events`."""
    starts, ends = (np.searchsorted(log.user, users, side) for side in ("left", "right"))
    return _newest(events, log, rule, of_items, starts, ends)


def _newest(
    events: pl.DataFrame, log: Log, rule: Follows, of_items: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Of the newest events that count among [start, end) of the log."""
    newest = np.maximum.accumulate(np.where(_counts(events, log, rule.least), np.arange(len(log)), -1))
    places = np.append(-1, newest)[ends]
    return np.where(places >= starts, of_items[log.item[places]], rule.none)


def _counts(events: pl.DataFrame, log: Log, least: int | None) -> np.ndarray:
    """bool [N] in the log's order. Histories hold all events where events have values, else the positive ones."""
    if "value" not in events.columns:
        return log.label > 0
    return np.ones(len(log), bool) if least is None else events["value"].to_numpy()[log.row] >= least
