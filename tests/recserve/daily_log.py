"""A shop's log that grows day by day: what a customer of one half of the world likes is of one half of the shelf."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

EVENTS_A_DAY = 3_000
_FIRST = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())
_DAY_S = 86_400
_SCHEMA = """\
name = "shop"
licence = "none: generated"
[events]
user = "customer"
item = "sku"
time = "at"
label = "liked"
[items.fields]
brand = "id"
[users.fields]
country = "id"
"""


def log(folder: Path, days: int) -> Path:
    """The events of the first `days` days from 2024-03-01 on; each day brings a customer and a thing."""
    random = np.random.default_rng(0)
    parts = [_day(random, number) for number in range(days)]
    events = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    customers, things = 60 + days, 40 + days
    folder.mkdir(parents=True)
    named = {"customer": [f"c{n:03}" for n in events["user"]], "sku": [f"s{n:03}" for n in events["item"]]}
    pl.DataFrame({**named, "at": events["at"], "liked": events["liked"]}).write_parquet(folder / "events.parquet")
    items = {"sku": [f"s{n:03}" for n in range(things)], "brand": [f"b{n % 4}" for n in range(things)]}
    users = {"customer": [f"c{n:03}" for n in range(customers)], "country": [f"l{n % 4}" for n in range(customers)]}
    pl.DataFrame(items).write_parquet(folder / "items.parquet")
    pl.DataFrame(users).write_parquet(folder / "users.parquet")
    (folder / "schema.toml").write_text(_SCHEMA)
    return folder


def _day(random: np.random.Generator, number: int) -> dict[str, np.ndarray]:
    user = random.integers(0, 60 + number + 1, EVENTS_A_DAY)
    item = random.integers(0, 40 + number + 1, EVENTS_A_DAY)
    liked = (user % 2 == item % 2) ^ (random.random(EVENTS_A_DAY) < 0.2)
    at = _FIRST + number * _DAY_S + np.sort(random.integers(0, _DAY_S, EVENTS_A_DAY))
    return {"user": user, "item": item, "at": at, "liked": liked.astype(np.int64)}
