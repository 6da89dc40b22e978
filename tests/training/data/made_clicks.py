"""Small logs of clicks, row by row, and a slow walk over them."""

import polars as pl
from hypothesis import strategies as st

from training.interactions import Interactions
from training.schema import Field, Schema

NUM_USERS, NUM_ITEMS = 4, 9
Row = tuple[int, int, int, int]
"""User, item, rating, time."""

rows_strategy = st.lists(
    st.tuples(st.integers(1, NUM_USERS), st.integers(1, NUM_ITEMS), st.integers(1, 5), st.integers(100, 112)),
    min_size=10,
    max_size=60,
)


def events_of(rows: list[Row], *, values: bool = True) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user", "item", "value", "time"], orient="row")
    frame = frame.with_columns(label=(pl.col("value") >= 4).cast(pl.Float32))
    return frame if values else frame.drop("value")


def interactions(rows: list[Row], *, values: bool = True) -> Interactions:
    """Ratings from 4 on are positive; each user has a field that tells who it is."""
    num_items = max(NUM_ITEMS, *(item for _, item, _, _ in rows))
    value = (Field(name="rating", role="event", kind="id", uses=("value",), cardinality=6),) if values else ()
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=NUM_USERS + 1),
        Field(name="mark", role="user", kind="id", cardinality=NUM_USERS + 11),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=num_items + 1),
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    )
    return Interactions(
        schema=Schema(dataset="made", fields=(*fields, *value)),
        events=events_of(rows, values=values),
        users=pl.DataFrame({"mark": [0, *(10 + user for user in range(1, NUM_USERS + 1))]}),
        items=pl.DataFrame({"title": ["unknown", *(f"item {n}" for n in range(1, num_items + 1))]}),
        licence="",
    )


def splittable(rows: list[Row]) -> list[Row]:
    """The rows, then as many again at times of their own, so that no part is empty."""
    later = range(len(rows))
    return [*rows, *((1 + n % NUM_USERS, 1 + n % NUM_ITEMS, 1 + n % 5, 113 + n) for n in later)]


def past(rows: list[Row], target: Row, max_length: int, *, values: bool = True) -> list[tuple[int, int]]:
    """(item, rating) of the events before the target, newest first, of one time the later row first; without values the
    positive ones, as 1."""
    found = [(row[3], number, row[1], row[2]) for number, row in enumerate(rows)]
    before = [event for event, row in zip(found, rows, strict=True) if row[0] == target[0] and row[3] < target[3]]
    newest = [(item, rating) for _, _, item, rating in sorted(before, reverse=True)]
    return (newest if values else [(item, 1) for item, rating in newest if rating >= 4])[:max_length]


def in_time(rows: list[Row]) -> list[Row]:
    """By (time, published row)."""
    return [row for _, _, row in sorted((row[3], number, row) for number, row in enumerate(rows))]


def spread(count: int) -> list[Row]:
    """Of two users, one event at a time."""
    return [(1 + number % 2, 1 + number % NUM_ITEMS, 1 + number % 5, 1000 + number) for number in range(count)]
