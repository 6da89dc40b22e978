"""A data set's own events as histories: what training has seen is where live users begin."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from export.model_config import read_config
from recserve_client.events import event_name
from serving.histories.facts import Facts
from serving.histories.histories import MOST_EVENTS, Histories
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose
from serving.histories.reading import ITEMS as HISTORY_ITEMS
from serving.identity import Identity
from serving.ids import IdMap
from training.data.folder.times import ticks
from training.interactions import Interactions, by_user
from training.needs import ITEMS, TIME, USERS, require
from training.schema import Field

_USERS_AT_ONCE = 500
_BETWEEN = re.compile(r"over (\S+) to (\S+)")
_SMALLEST_TIME = 10**8
"""Smaller ones are no seconds since 1970, but an order."""


def facts_of(interactions: Interactions, most: int = MOST_EVENTS) -> Facts:
    """What events of the data set may be about. Raises ValueError naming what it lacks."""
    require(interactions, "histories", (USERS, ITEMS, TIME))
    items = interactions.ids.get("item") or IdMap(ids=np.arange(1, len(interactions.items)))
    users = interactions.ids["user"].kind if "user" in interactions.ids else "int64"
    time = interactions.events["time"]
    counts = np.median(time.to_numpy()) >= _SMALLEST_TIME
    return Facts(dataset=interactions.name, users=users, items=items, ticks=ticks(time) if counts else None, most=most)


def longest_read(repository: Path, dataset: str) -> int:
    """Events of a history that the models of a repository read at most; 0 where none reads those of the data set."""
    configs = [read_config(path) for path in sorted(repository.glob("*/config.pbtxt"))]
    return max(
        (
            tensor.dims[-1]
            for config in configs
            if Identity.of(config).dataset == dataset
            for tensor in (*config.input, *config.output)
            if tensor.name == HISTORY_ITEMS and tensor.dims
        ),
        default=0,
    )


def load(histories: Histories, interactions: Interactions, most: int = MOST_EVENTS) -> Iterator[int]:
    """Appends all events of the data set, a few hundred users at a time, and yields how many users are done; then
    registers it, so that no event is pushed before a history that is half there. What is there is not appended twice.
    """
    facts, done = facts_of(interactions, most), 0
    for batch in _batches(interactions):
        histories.append(batch, most)
        done += len(batch)
        yield done
    histories.register(facts)


def _batches(interactions: Interactions) -> Iterator[dict[Whose, Events]]:
    own = interactions.remembered
    own = own[by_user(own)]
    users = own["user"].to_numpy()
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1])) if len(users) else np.zeros(0, np.int64)
    raw_users = interactions.raws("user", users[starts])
    events = _events(interactions, own)
    ends = np.append(starts[1:], len(users))
    for first in range(0, len(starts), _USERS_AT_ONCE):
        chosen = range(first, min(first + _USERS_AT_ONCE, len(starts)))
        yield {Whose(interactions.name, raw_users[one]): events.of(np.arange(starts[one], ends[one])) for one in chosen}


def _events(interactions: Interactions, own: pl.DataFrame) -> Events:
    """Of events in the order of `by_user`."""
    items = np.array(interactions.raws("item", own["item"].to_numpy()), _dtype(interactions))
    times = own["time"].to_numpy().astype(np.int64)
    said = own["order"].to_numpy().astype(np.int64) if "order" in own.columns else None
    orders = _places(own["user"].to_numpy(), times) if said is None else said
    values = np.ones(len(own))
    if "value" in own.columns:
        field = next(one for one in interactions.schema.fields if "value" in one.uses)
        values = raw_values(field)[own["value"].to_numpy()]
    # The name has the order that the table says, and no other: a push of the same event has the same name.
    named = np.zeros_like(orders) if said is None else said
    rows = zip(own["user"], items.tolist(), times.tolist(), named.tolist(), values.tolist(), strict=True)
    return Events(items, values, times, orders, np.fromiter(_ids(rows), np.uint64, len(own)))


def _ids(rows: Iterable[tuple[int, int | str, int, int, float]]) -> Iterator[int]:
    """Of events of which nothing tells one from another, each has its own."""
    seen: Counter[tuple] = Counter()
    for row in rows:
        name, before = event_name(*row[1:]), seen[row]
        seen[row] += 1
        yield id_of(f"{name}|{before}" if before else name)


def _dtype(interactions: Interactions) -> type:
    return object if interactions.has_text_ids("item") else np.int64


def _places(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Which of its user's events of its time each is, from 0."""
    if not len(users):
        return np.zeros(0, np.int64)
    places = np.arange(len(users))
    new = np.append(True, (users[1:] != users[:-1]) | (times[1:] != times[:-1]))
    return places - np.maximum.accumulate(np.where(new, places, 0))


def raw_values(field: Field) -> np.ndarray:
    """float64 by code: a value that has this code. The code itself where the field has no names; of a range its upper
    border, which belongs to it; NaN for the unknown."""
    if field.values is None:
        return np.arange(field.cardinality or 0, dtype=np.float64)
    return np.array([np.nan, *(_raw(name) for name in field.values[1:])])


def _raw(name: str) -> float:
    if found := _BETWEEN.fullmatch(name):
        return float(found[2])
    if name.startswith("up to "):
        return float(name.removeprefix("up to "))
    if name.startswith("over "):
        return float(np.nextafter(float(name.removeprefix("over ")), np.inf))
    return float(name)
