"""Views of planted clicks, and a small data set that has a field of every kind on every side."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from training.data.click import FEATURES, HISTORY, ClickData, click_data
from training.data.content import GRAPH_WIDTH, unit_rows
from training.data.planted_clicks import planted_clicks, planted_fields
from training.data.sentence_vectors import WIDTH
from training.interactions import Content, Interactions
from training.schema import Field, Follows, Schema
from training.system import System, Wanted

NUM_USERS, NUM_ITEMS, NUM_EVENTS = 24, 40, 500
MANY = 300
"""Ids of the multi-valued fields of events and items: more than one matrix product is made of."""
BOTH = frozenset({FEATURES, HISTORY})
CONTEXT = ("channel", "hour", "words")
"""The event's fields that a request carries."""


def view(interactions: Interactions, reads: frozenset[str] = BOTH, max_length: int = 16) -> ClickData:
    return click_data(interactions, Wanted(reads, max_length, {}))


def view_of(system: System, interactions: Interactions, max_length: int = 16) -> ClickData:
    """As a run of the system has it."""
    return view(interactions, system.reads, max_length)


@cache
def histories(max_length: int = 64) -> ClickData:
    """Planted clicks for systems that read a history."""
    return view(planted_clicks(), frozenset({HISTORY}), max_length)


@cache
def fields() -> ClickData:
    """Planted fields for systems over fields."""
    return view(planted_fields(), frozenset({FEATURES}))


@cache
def everything(*, context: bool = True, seed: int = 0) -> Interactions:
    """One field of each kind for users, items and events (these only with `context`), some of them missing, lists that
    are longer than the field is wide, and a user field that changes with time. Likes follow from the event's hour and
    from one field of each side."""
    random = np.random.default_rng(seed)
    users, items = _side("user", NUM_USERS, 7, 3, random), _side("item", NUM_ITEMS, MANY, 2, random)
    user, item = random.integers(1, NUM_USERS, NUM_EVENTS), random.integers(1, NUM_ITEMS + 1, NUM_EVENTS)
    time, hour = np.arange(NUM_EVENTS) // 2, random.normal(12, 5, NUM_EVENTS).astype(np.float32)
    liking = np.nan_to_num(items["item_number"].to_numpy()[item]) + 2.0 * (users["user_kind"].to_numpy()[user] % 2)
    events = pl.DataFrame(
        {
            "user": user,
            "item": item,
            "time": time,
            "value": random.integers(1, 4, NUM_EVENTS),
            "label": (liking + (hour - 12) / 5 + random.normal(0, 0.3, NUM_EVENTS) > 1).astype(np.float32),
            "channel": random.integers(0, 3, NUM_EVENTS),
            "hour": np.where(random.random(NUM_EVENTS) < 0.2, np.nan, hour).astype(np.float32),
            "words": _lists(NUM_EVENTS, MANY, 4, random),
            "last_kind": _kinds_before(user, time, items["item_kind"].to_numpy()[item]),
        }
    )
    after = _kinds_after(events, items["item_kind"].to_numpy())
    return Interactions(
        schema=Schema(dataset="everything", fields=(*_fields(), *(_CONTEXT_FIELDS if context else ()))),
        events=events if context else events.drop(CONTEXT),
        users=users.with_columns(last_kind=pl.Series(after)),
        items=items.with_columns(title=pl.Series(["unknown", *(f"Item {n}" for n in range(1, NUM_ITEMS + 1))])),
        licence="made up by recserve",
        load_content=_content,
    )


@cache
def following(*, context: bool = True) -> Interactions:
    """`everything` as a data set that says of a user's field that it follows from the history."""
    whole = everything(context=context)
    rule = Follows(field="item_kind", none=5)
    changed = {"last_kind": replace(whole.schema["last_kind"], uses=("feature",), follows=rule)}
    fields = tuple(changed.get(field.name, field) for field in whole.schema.fields)
    return replace(whole, schema=replace(whole.schema, fields=fields))


_CONTEXT_FIELDS = (
    Field(name="channel", role="event", kind="id", uses=("scenario",), cardinality=3, values=("none", "shop", "feed")),
    Field(name="hour", role="event", kind="dense"),
    Field(name="words", role="event", kind="multi", cardinality=MANY, width=3),
)


def _content() -> Content:
    """Vectors of norm 1; the last item has no graph vector."""
    random = np.random.default_rng(0)
    text, graph = (random.standard_normal((NUM_ITEMS + 1, width)) for width in (WIDTH, GRAPH_WIDTH))
    text[0] = graph[0] = graph[-1] = 0
    return Content(*(unit_rows(table).astype(np.float32) for table in (text, graph)))


def _fields() -> tuple[Field, ...]:
    def of(role: str, many: int, width: int) -> tuple[Field, ...]:
        assert role in ("user", "item")
        size = NUM_USERS if role == "user" else NUM_ITEMS
        return (
            Field(name=f"{role}_id", role=role, kind="id", uses=("key",), cardinality=size + 1),
            Field(name=f"{role}_kind", role=role, kind="id", cardinality=5),
            Field(name=f"{role}_number", role=role, kind="dense"),
            Field(name=f"{role}_tags", role=role, kind="multi", cardinality=many, width=width),
        )

    return (
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
        Field(name="stars", role="event", kind="id", uses=("value",), cardinality=4),
        *of("item", MANY, 2),
        *of("user", 7, 3),
        Field(name="last_kind", role="user", kind="id", cardinality=6),
    )


def _side(role: str, size: int, many: int, width: int, random: np.random.Generator) -> pl.DataFrame:
    """Rows of all users or items, that of the unknown first, without any value."""
    number = np.where(random.random(size + 1) < 0.25, np.nan, random.normal(1, 2, size + 1)).astype(np.float32)
    kind = random.integers(1, 5, size + 1)
    number[0], kind[0] = np.nan, 0
    lists = [[], *_lists(size, many, width + 2, random)]
    return pl.DataFrame({f"{role}_kind": kind, f"{role}_number": number, f"{role}_tags": lists}).with_columns(
        pl.col(f"{role}_tags").cast(pl.List(pl.Int64))
    )


def _lists(count: int, many: int, longest: int, random: np.random.Generator) -> list[list[int]]:
    return [random.integers(1, many, random.integers(0, longest + 1)).tolist() for _ in range(count)]


def _kinds_before(user: np.ndarray, time: np.ndarray, kind: np.ndarray) -> list[int]:
    """Of each event the kind of the last item that its user met strictly earlier; 5 for none."""
    found = []
    for row in range(len(user)):
        earlier = np.flatnonzero((user == user[row]) & (time < time[row]))
        found.append(int(kind[earlier[-1]]) if len(earlier) else 5)
    return found


def _kinds_after(events: pl.DataFrame, kind_of: np.ndarray) -> list[int]:
    """Of each user, 0 being nobody, the kind of the last item; 5 for none. One user has no events."""
    last = dict(events.select("user", "item").iter_rows())
    return [0, *(int(kind_of[last[user]]) if user in last else 5 for user in range(1, NUM_USERS + 1))]
