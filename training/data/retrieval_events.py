"""The events of a set as retrieval splits them: each user's in one row, training part first.

Where nobody gave parts, of each user's events in order the last ones test, those before validate, the rest trains: one
of each (leave one out), or a fifth and a tenth where events have objectives, as few of them serve the rarer ones.

Where events have a `part`, that is the split. Without a validation part a tenth of the training events of up to
`MAX_VALIDATION` users validates, both drawn by a fixed seed. Without a time or an order a user's training events are a
set, in which a repetition counts once: what any of them is learnt from is all others.

Axes: E events, U users, O objectives, T targets.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from training.interactions import Interactions, by_user, moments_of

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Of a user's events, where they have objectives, the second also of given training events; at least one each."""
MAX_VALIDATION = 3_000
"""Users who are measured after each epoch; the same ones in every run."""
TRAIN, VALIDATION, TEST = range(3)


class Events(NamedTuple):
    """Positives sorted by (user, part, time or order, original row), int64 [E] each."""

    user: np.ndarray
    item: np.ndarray
    part: np.ndarray
    """TRAIN, VALIDATION or TEST, ascending within a user."""
    start: np.ndarray
    """Place of the user's first event."""
    until: np.ndarray
    """Place after the last event that a history before this one holds. It may lie after the event, which its own
    history then leaves out."""
    objectives: np.ndarray
    """bool [E, O]"""
    names: list[str]
    """Of the objectives."""


def events_of(interactions: Interactions) -> Events:
    """The positives, in order, and their parts."""
    rows, given, ordered = positives(interactions), has_parts(interactions), True
    if given:
        ordered = bool(moments_of(rows))
        rows = rows if ordered else _once(rows)
    order, part = by_user(rows), np.zeros(len(rows), np.int64)
    if given:
        part = _given(rows)
        order = order[np.lexsort((part[order], rows["user"].to_numpy()[order]))]
    user, item = (rows[name].to_numpy().astype(np.int64)[order] for name in ("user", "item"))
    names = _objectives(interactions)
    start, moment = _beginnings(rows, order, user, part[order])
    part = part[order] if given else _last_ones(start, by_share=bool(names))
    served = rows.select(names).to_numpy().reshape(len(rows), -1)[order] > 0
    trained = start + _counts(start, part == TRAIN)
    until = np.where((part == TRAIN) & ordered, moment, trained) if given else moment
    return Events(user, item, part, start, until, served, names)


def positives(interactions: Interactions) -> pl.DataFrame:
    """Events that serve an objective; with no objectives those with a positive label; with no labels all."""
    objectives = _objectives(interactions)
    if not objectives:
        return interactions.positives
    return interactions.events.filter(pl.any_horizontal(pl.col(objectives) > 0))


def has_parts(interactions: Interactions) -> bool:
    """Whether the set says what trains and what tests."""
    return bool(interactions.schema.of("part", "event"))


def targets_of(events: Events) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the targets of train [E', 1], validation and test [users, T], -1 after a user's last."""
    place, user = np.arange(len(events.part)), np.unique(events.start, return_inverse=True)[1]
    fresh = _first_meetings(events)
    held_out = [_rows(place[(events.part == number) & fresh], user) for number in (VALIDATION, TEST)]
    chosen = np.sort(np.random.default_rng(0).permutation(len(held_out[0]))[:MAX_VALIDATION])
    return place[events.part == TRAIN][:, None], held_out[0][chosen], held_out[1]


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """Each pair in the first of its parts."""
    return rows.sort("part", maintain_order=True).unique(["user", "item"], keep="first", maintain_order=True)


def _objectives(interactions: Interactions) -> list[str]:
    return [field.name for field in interactions.schema.of("objective", "event")]


def _beginnings(
    rows: pl.DataFrame, order: np.ndarray, user: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the user's first event, and of the first one of the same part and moment, int64 [E] each."""
    new_user = _changes(user)
    new_moment = new_user | _changes(part)
    for moment in moments_of(rows):
        new_moment |= _changes(moment[order])
    place = np.arange(len(user))
    start, moment = (np.maximum.accumulate(np.where(new, place, 0)) for new in (new_user, new_moment))
    return start, moment


def _changes(values: np.ndarray) -> np.ndarray:
    """bool [E]: whether each value is another one than that before it; the first is."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


def _counts(start: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """int64 [E]: how many of the same user's events are marked."""
    _, user = np.unique(start, return_inverse=True)
    return np.bincount(user, marks, minlength=1).astype(np.int64)[user]


def _last_ones(start: np.ndarray, *, by_share: bool) -> np.ndarray:
    """int64 [E]: parts of events in order; who has fewer than three trains with all of them."""
    size = _counts(start, np.ones(len(start)))
    tested, validated = (
        np.maximum(1, np.floor(share * size).astype(int)) if by_share else np.ones_like(size)
        for share in (TEST_SHARE, VALIDATION_SHARE)
    )
    left = start + size - np.arange(len(start))
    found = np.where(left <= tested, TEST, np.where(left <= tested + validated, VALIDATION, TRAIN))
    return np.where(size >= 3, found, TRAIN)


def _given(rows: pl.DataFrame) -> np.ndarray:
    """int64 [E]: the parts that the rows name, or, without any that validates, with some drawn."""
    part = rows["part"].to_numpy().astype(np.int64) - 1
    return part if (part == VALIDATION).any() else np.where(_drawn(rows["user"].to_numpy(), part), VALIDATION, part)


def _drawn(user: np.ndarray, part: np.ndarray) -> np.ndarray:
    """bool [E]: training events of some users who have two or more, a tenth of each one's."""
    random, drawn = np.random.default_rng(0), np.zeros(len(user), bool)
    places = np.flatnonzero(part == TRAIN)
    _, row, size = np.unique(user[places], return_inverse=True, return_counts=True)
    able = np.flatnonzero(size >= 2)
    chosen = np.isin(row, random.permutation(able)[:MAX_VALIDATION])
    places, row = places[chosen], row[chosen]
    order = np.lexsort((random.random(len(row)), row))
    rank = np.arange(len(row)) - np.searchsorted(row[order], row[order])
    wanted = np.maximum(1, np.floor(VALIDATION_SHARE * size[row[order]]))
    drawn[places[order[rank < wanted]]] = True
    return drawn


def _first_meetings(events: Events) -> np.ndarray:
    """bool [E]: whether the user had not met the item before."""
    order = np.lexsort((events.item, events.user))
    user, item = events.user[order], events.item[order]
    first = np.zeros(len(order), bool)
    first[order] = _changes(user) | _changes(item)
    return first


def _rows(places: np.ndarray, user: np.ndarray) -> np.ndarray:
    """int64 [users, T]: the places of each user who has one, -1 after the last."""
    _, row, counts = np.unique(user[places], return_inverse=True, return_counts=True)
    table = np.full((len(counts), int(counts.max(initial=1))), -1)
    table[row, np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)] = places
    return table
