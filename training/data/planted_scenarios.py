"""Small click logs in which the scenario of an event decides what a user likes: nothing is downloaded.

Axes: U users, I items, E events, S scenarios, Q quarters of the catalogue.
"""

import numpy as np
import polars as pl

from training.interactions import Interactions
from training.schema import UNKNOWN, Field, Schema

NUM_CLUSTERS = 6
_NUM_QUARTERS = 4
HALVES = ((0, 1), (2, 3), (0, 2), (1, 3))
"""Quarters of the catalogue from which the behaviours count, by scenario after the first."""
PLACES = ("home", "upper", "lower", "left", "right")
_ON_TASTE = 0.8
"""Share of what a user meets at home that is of the user's taste."""
MARKETS = ("large", "other", "small")
_NUM_TASTES, _NUM_KINDS = 4, 8
ROOMS = tuple(f"room {number}" for number in range(1, 9))


def planted_halves(*, num_users: int = 120, num_events: int = 60, seed: int = 0) -> Interactions:
    """The scenario decides which half of the history counts.

    A user has a taste, one of `NUM_CLUSTERS` clusters, in each quarter of the catalogue. A third of the events take
    place at home: items of the user's tastes, liked where the cluster is even, which says nothing of the user. The
    others are of any item, liked where its cluster is the taste of one of the two quarters that the scenario names, by
    `HALVES`. So of what a user met at home one half tells what comes now, and the scenario says which one. The value
    is 1 at home and 2 elsewhere; each user has `num_events` events. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    size = _NUM_QUARTERS * NUM_CLUSTERS * 2
    quarter, cluster = np.arange(size) % _NUM_QUARTERS, np.arange(size) // _NUM_QUARTERS % NUM_CLUSTERS
    by_kind = np.argsort(quarter * NUM_CLUSTERS + cluster, kind="stable").reshape(_NUM_QUARTERS, NUM_CLUSTERS, -1)
    taste = random.integers(NUM_CLUSTERS, size=(num_users + 1, _NUM_QUARTERS))
    user = np.repeat(np.arange(1, num_users + 1), num_events)
    place = np.where(random.random(len(user)) < 1 / 3, 0, random.integers(1, len(PLACES), len(user)))
    at, twin = random.integers(_NUM_QUARTERS, size=len(user)), random.integers(by_kind.shape[2], size=len(user))
    wanted = by_kind[at, taste[user, at], twin]
    met_at_home = (place == 0) & (random.random(len(user)) < _ON_TASTE)
    # Elsewhere half of what is shown is of some taste of the user, so that both classes are common.
    shown = by_kind[random.integers(_NUM_QUARTERS, size=len(user)), taste[user, at], twin]
    any_item = np.where(random.random(len(user)) < 0.5, shown, random.integers(size, size=len(user)))
    item = np.where(met_at_home, wanted, any_item)
    counts = np.array(HALVES)[np.maximum(place - 1, 0)]  # (E, 2)
    tastes = np.take_along_axis(taste[user], counts, axis=1)
    liked = np.where(place == 0, cluster[item] % 2 == 0, (cluster[item][:, None] == tastes).any(axis=1))
    events = {"user": user, "item": item + 1, "time": _times(num_users, num_events, random)}
    events |= {"value": np.where(place == 0, 1, 2), "label": liked.astype(np.float32), "place": place + 1}
    fields = (
        Field(name="cluster", role="item", kind="id", cardinality=NUM_CLUSTERS + 1),
        Field(name="quarter", role="item", kind="id", cardinality=_NUM_QUARTERS + 1),
    )
    items = pl.DataFrame({"cluster": np.append(0, cluster + 1), "quarter": np.append(0, quarter + 1)})
    return _log("planted-halves", events, items, fields, (num_users, "place", PLACES))


def planted_markets(*, num_users: int = 150, num_events: int = 80, num_items: int = 64, seed: int = 0) -> Interactions:
    """Users whose likes depend on the market, the third of which has hardly any events.

    A user has a base taste, one of 4, which says what kinds of items the user likes; in the second market half of
    the users like the opposite. In the third, 3 % of the events, all like what their taste says. Items have a kind,
    one of 8. Each user has `num_events` events. Everything follows from the seed.
    """
    random = np.random.default_rng(seed)
    likes = random.normal(0, 1.5, (_NUM_TASTES, _NUM_KINDS))
    taste, turns = random.integers(_NUM_TASTES, size=num_users + 1), random.random(num_users + 1) < 1 / 2
    kind = np.arange(num_items) % _NUM_KINDS
    user = np.repeat(np.arange(1, num_users + 1), num_events)
    market = random.choice(len(MARKETS), len(user), p=(0.6, 0.37, 0.03))
    item = random.integers(num_items, size=len(user))
    liking = likes[taste[user], kind[item]] * np.where((market == 1) & turns[user], -1, 1)
    liked = random.random(len(user)) < 1 / (1 + np.exp(-2 * liking))
    events = {"user": user, "item": item + 1, "time": _times(num_users, num_events, random)}
    events |= {"value": 1 + liked.astype(np.int64), "label": liked.astype(np.float32), "market": market + 1}
    items = pl.DataFrame({"kind": np.append(0, kind + 1)})
    field = Field(name="kind", role="item", kind="id", cardinality=_NUM_KINDS + 1)
    return _log("planted-markets", events, items, (field,), (num_users, "market", MARKETS))


def planted_moods(*, num_users: int = 60, num_events: int = 80, num_items: int = 16, seed: int = 0) -> Interactions:
    """Users who like nine in ten of what they are shown in some rooms and one in ten in the others, which is drawn for
    each user and room on its own: nothing but both together says it. Items say nothing. Everything follows from the
    seed."""
    random = np.random.default_rng(seed)
    mood = random.random((num_users + 1, len(ROOMS))) < 1 / 2
    user = np.repeat(np.arange(1, num_users + 1), num_events)
    room, item = (random.integers(size, size=len(user)) for size in (len(ROOMS), num_items))
    liked = mood[user, room] != (random.random(len(user)) < 0.1)
    events = {"user": user, "item": item + 1, "time": _times(num_users, num_events, random)}
    events |= {"value": 1 + liked.astype(np.int64), "label": liked.astype(np.float32), "room": room + 1}
    return _log("planted-moods", events, pl.DataFrame(height=num_items + 1), (), (num_users, "room", ROOMS))


def _times(num_users: int, num_events: int, random: np.random.Generator) -> np.ndarray:
    """int64 [E]: every user's events all over the time, in order."""
    return np.sort(random.integers(0, 1000 * num_events, (num_users, num_events)), axis=1).ravel()


def _log(
    name: str,
    events: dict[str, np.ndarray],
    items: pl.DataFrame,
    fields: tuple[Field, ...],
    scenario: tuple[int, str, tuple[str, ...]],
) -> Interactions:
    num_users, called, names = scenario
    own = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=num_users + 1),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=len(items)),
        *fields,
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="met", role="event", kind="id", uses=("value",), cardinality=3),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
        Field(
            name=called,
            role="event",
            kind="id",
            uses=("scenario",),
            cardinality=len(names) + 1,
            values=(UNKNOWN, *names),
        ),
    )
    return Interactions(
        schema=Schema(dataset=name, fields=own),
        events=pl.DataFrame(events),
        users=pl.DataFrame(height=num_users + 1),
        items=items.with_columns(title=pl.Series(["unknown", *(f"Item {n}" for n in range(1, len(items)))])),
        licence="made up by recserve",
    )
