"""Dated windows of a data set: what was known before a day.

A folder's events are cut before ids, codes and buckets are made of them (`training.data.folder`). A built-in set is cut
here, after it was read: its ids are those of its own published tables, which are of no date.
"""

from dataclasses import replace

import polars as pl

from training.data.folder.times import second_of, ticks
from training.interactions import Interactions
from training.needs import TIME, require


def until(interactions: Interactions, day: str) -> Interactions:
    """The events strictly before a day, `YYYY-MM-DD` in UTC; users, items and ids stay.

    Raises ValueError for what is no day, for a set without times, for one whose user fields change with time (they are
    kept as they are after all events), and where no event is left.
    """
    second = second_of(day)
    require(interactions, "a dated window", (TIME,))
    varying = [
        field.name
        for field in interactions.schema.fields
        if field.role == "user" and "key" not in field.uses and field.name in interactions.events.columns
    ]
    if varying:
        raise ValueError(f"{interactions.name}: the user fields {varying} change with time and cannot be cut at a day")
    times = interactions.events["time"]
    kept = interactions.events.filter(pl.col("time") < second * ticks(times))
    if not len(kept):
        raise ValueError(f"{interactions.name} has no event before {day}")
    return replace(interactions, events=kept)
