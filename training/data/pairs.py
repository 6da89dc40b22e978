"""Published pairs of users and items with their parts, and nothing else: no times, no order, no fields.

Ids are the published ones plus 1; 0 is "unknown". A pair's part is where its publisher put it.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from training.data.fetch import ORIGINS, Name, fetch
from training.interactions import Interactions, Report
from training.schema import PARTS, Field, Schema, part_field


def read(name: Name, cache: Path | None, report: Report) -> Interactions:
    """A set whose tables are parts; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch(name, cache, report)
    tables = {part: pl.read_parquet(folder / f"{part}.parquet") for part in ORIGINS[name].rows}
    return made(name, tables, ORIGINS[name].licence)


def made(name: str, tables: Mapping[str, pl.DataFrame], licence: str) -> Interactions:
    """Of pairs by the name of their part, with ids from 0, in their order."""
    pairs = [table.select(pl.col("user", "item") + 1, part=PARTS.index(part)) for part, table in tables.items()]
    events = pl.concat(pairs).select(pl.all().cast(pl.Int64))
    num_users, num_items = (int(events[column].to_numpy().max()) + 1 for column in ("user", "item"))
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=num_users),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=num_items),
        part_field(),
    )
    return Interactions(
        schema=Schema(dataset=name, fields=fields),
        events=events,
        users=pl.DataFrame(height=num_users),
        items=pl.DataFrame(height=num_items),
        licence=licence,
    )
