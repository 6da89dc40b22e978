"""Some fields of all users, all items and all events, as batches and requests take them.

Axes as in `training.data.columns`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from training.data.columns import Columns, Layout, columns, side_by_side
from training.data.log import Log
from training.interactions import Interactions


class Sides(NamedTuple):
    """Some fields of all users and all items by dense id, and of all events."""

    layout: Layout
    users: Columns
    events: Columns
    items: Columns
    varying: tuple[int, ...]
    """Places of the user's id fields that change with time; the events have them too, after their own fields."""

    def of(self, places: np.ndarray, user: np.ndarray, item: np.ndarray) -> Columns:
        """Values of the events at these places."""
        users, events = self.users.rows(user), self.events.rows(places)
        if self.varying:
            users.ids[:, self.varying] = events.ids[:, -len(self.varying) :]
            events = events._replace(ids=events.ids[:, : -len(self.varying)])
        return side_by_side((users, events, self.items.rows(item)))


def sides(interactions: Interactions, log: Log, fields: Layout) -> Sides:
    own = fields.of("user")
    varying = tuple(
        place
        for place, field in enumerate(own.fields)
        if field.name in interactions.events.columns and "key" not in field.uses
    )
    if bad := [own.fields[place].name for place in varying if own.fields[place].kind != "id"]:
        raise ValueError(f"{interactions.name}: user fields {bad} change with time, which only fields of kind id may")
    at_event = Layout((*fields.of("event").fields, *(own.fields[place] for place in varying)))
    return Sides(
        layout=fields,
        users=columns(interactions.users, own),
        events=columns(interactions.events, at_event).rows(log.row),
        items=columns(interactions.items, fields.of("item")),
        varying=varying,
    )


def at_moment(sides: Sides, user: int, items: np.ndarray, values: Mapping[str, np.ndarray]) -> Columns:
    """The user's row, the moment's values, and the items' rows."""
    fields = sides.layout.of("event")
    frame = pl.DataFrame(
        {
            field.name: [values[field.name].tolist() if field.kind == "multi" else values[field.name].item()]
            for field in fields.fields
        }
    )
    moment = columns(frame, fields) if fields.fields else Columns(*(part[:1, :0] for part in sides.items))
    same = side_by_side((sides.users.rows(np.array([user])), moment))
    return side_by_side((same.rows(np.zeros(len(items), np.int64)), sides.items.rows(items)))
