"""Planted ratings whose users have fields that follow from what they did last."""

from dataclasses import replace

import numpy as np
import polars as pl

from training.data.following import user_side
from training.data.planted_clicks import planted_clicks
from training.interactions import Interactions
from training.schema import Field, Follows, Schema

LIKED = 4
NUM_SHELVES = 6


def rated_fields(events: pl.DataFrame | None = None, *, new_users: int = 0) -> Interactions:
    """Planted clicks, with a shelf of each item, and of each user the last item, its shelf, and the last liked item.

    `events` come after the planted ones, some of them maybe of users who follow the planted ones.
    """
    planted = planted_clicks()
    if events is not None:
        planted = replace(planted, events=pl.concat([planted.events, events], how="diagonal"))
    no_item = len(planted.items)
    shelves = np.append(0, 1 + np.random.default_rng(5).permutation(no_item - 1) % (NUM_SHELVES - 1))
    rules = {
        "last_item": Follows(field="item_id", none=no_item),
        "last_shelf": Follows(field="shelf", none=NUM_SHELVES),
        "last_liked": Follows(field="item_id", none=no_item, least=LIKED),
    }
    before, after = user_side(planted.events, rules, {"item_id": np.arange(no_item), "shelf": shelves})
    strangers = pl.DataFrame({name: [0] * new_users for name in planted.users.columns}, schema=planted.users.schema)
    return Interactions(
        schema=_schema(planted.schema, rules),
        events=planted.events.with_columns(before),
        users=pl.concat([planted.users, strangers]).with_columns(after),
        items=planted.items.with_columns(shelf=shelves),
        licence=planted.licence,
        load_content=planted.load_content,
    )


def _schema(planted: Schema, rules: dict[str, Follows]) -> Schema:
    sizes = {name: rule.none + 1 for name, rule in rules.items()}
    theirs = (
        Field(name=name, role="user", kind="id", uses=("feature",), cardinality=sizes[name], follows=rule)
        for name, rule in rules.items()
    )
    shelf = Field(name="shelf", role="item", kind="id", uses=("feature",), cardinality=NUM_SHELVES)
    # A set has more to it than an id.
    kept = (replace(field, uses=("profile",)) if field.kind == "multi" else field for field in planted.fields)
    return replace(planted, fields=(*kept, *theirs, shelf))
