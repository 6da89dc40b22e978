"""Folders of own tables for tests: a good one, which each test breaks in its own way."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

SCHEMA = """\
name = "shop"
licence = "internal"

[events]
user = "customer_id"
item = "sku"
time = "at"
value = "stars"
positive = ">= 4"
scenario = "page"
objectives = ["seen", "bought"]

[events.fields]
device = "id"

[items.fields]
price = "dense"
brand = "id"
tags = "multi"
name = "text"

[users.fields]
country = "id"
age = "dense"
"""
NUM_EVENTS, NUM_USERS, NUM_ITEMS = 240, 12, 15
START = 1_700_000_000
STEP = 2**58 + 3
"""Between the numbers of items, so that they need 62 bits."""
SKUS = [STEP * number for number in range(1, NUM_ITEMS + 1)]


def _events() -> pl.DataFrame:
    random = np.random.default_rng(0)
    users, items = random.integers(0, NUM_USERS, NUM_EVENTS), random.integers(0, NUM_ITEMS, NUM_EVENTS)
    return pl.DataFrame(
        {
            "customer_id": [f"u{number:05d}" for number in users],
            "sku": [SKUS[number] for number in items],
            "at": START + 60 * np.arange(NUM_EVENTS),
            "stars": random.integers(1, 6, NUM_EVENTS),
            "page": random.choice(["home", "cart"], NUM_EVENTS),
            "seen": np.ones(NUM_EVENTS, np.int64),
            "bought": random.integers(0, 2, NUM_EVENTS),
            "device": random.choice(["phone", "desk"], NUM_EVENTS),
        }
    )


def _items() -> pl.DataFrame:
    numbers = range(NUM_ITEMS)
    return pl.DataFrame(
        {
            "sku": SKUS,
            "price": [None if number == 4 else 1.5 * number for number in numbers],
            "brand": [None if number == 3 else f"b{number % 5}" for number in numbers],
            "tags": [None if number == 2 else "red|round|new"[: 3 + 3 * (number % 2)] for number in numbers],
            "name": [None if number == 1 else f"thing {number}" for number in numbers],
        }
    )


def _users() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "customer_id": [f"u{number:05d}" for number in range(NUM_USERS)],
            "country": [f"c{number % 3}" for number in range(NUM_USERS)],
            "age": [20 + number for number in range(NUM_USERS)],
        }
    )


@dataclass
class Shop:
    """Three tables and their schema; `write` makes a folder of them."""

    events: pl.DataFrame = field(default_factory=_events)
    items: pl.DataFrame = field(default_factory=_items)
    users: pl.DataFrame = field(default_factory=_users)
    schema: str = SCHEMA
    ending: str = ".parquet"

    def write(self, folder: Path) -> Path:
        """The folder itself."""
        folder.mkdir(exist_ok=True)
        for name in ("events", "items", "users"):
            table, path = getattr(self, name), folder / f"{name}{self.ending}"
            if self.ending == ".parquet":
                table.write_parquet(path)
            else:
                separator = "\t" if ".tsv" in self.ending else ","
                compression = "gzip" if self.ending.endswith(".gz") else "uncompressed"
                table.write_csv(path, separator=separator, compression=compression)
        (folder / "schema.toml").write_text(self.schema)
        return folder

    def put(self, table: str, column: str, row: int, value: object) -> "Shop":
        """One value, by its row from 1; null casts the column to nothing else."""
        frame: pl.DataFrame = getattr(self, table)
        values = frame[column].to_list()
        values[row - 1] = value
        setattr(self, table, frame.with_columns(pl.Series(column, values, strict=True)))
        return self

    def say(self, old: str, new: str) -> "Shop":
        """Another schema."""
        assert old in self.schema
        self.schema = self.schema.replace(old, new)
        return self
