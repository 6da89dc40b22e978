"""The table that `recserve events push` reads: what users did, as the data set's own table says it.

Columns are called as in the data set's schema.toml, or user, item, time and, where there are, value, label, order and
event_id.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recserve.pairs import read
from recserve_client.events import event_name
from serving.events.pushing import Row
from training.data.folder.dense import numbers, whole
from training.data.folder.description import describe
from training.data.folder.files import Table
from training.data.folder.labels import flags
from training.data.folder.problems import Problems
from training.data.folder.registry import registered
from training.data.folder.times import times
from training.interactions import Interactions


def rows_of(path: Path, interactions: Interactions) -> Iterator[Row]:
    """The events of a file of the data set, in its order. Of a data set whose events have no values, the positive ones.

    Raises ValueError for a table that cannot be read, naming column and row.
    """
    pairs = read(path, _names(interactions.name))
    table = pairs.table
    if "time" not in table.frame.columns:
        raise ValueError(f"{path} has no column time; it has {', '.join(pairs.frame.columns)}")
    moments = times(table.column("time"))
    orders = whole(table.column("order"), "write whole numbers") if "order" in table.frame.columns else None
    values = _values(table, interactions)
    table.problems.stop()
    assert moments is not None
    texts = {name: _text(pairs.frame[name]) for name in ("user", "item", "event_id") if name in pairs.frame.columns}
    names = texts.get("event_id")
    ranks = np.zeros(len(pairs.frame), np.int64) if orders is None else orders.to_numpy()
    for place in np.flatnonzero(~np.isnan(values)).tolist():
        item, value, time, order = texts["item"][place], float(values[place]), int(moments[place]), int(ranks[place])
        name = event_name(item, time, order, value) if names is None else names[place]
        yield Row(texts["user"][place], item, value, time, order, name)


def _names(dataset: str) -> dict[str, str]:
    """What an own data set calls its columns."""
    folder = registered().get(dataset)
    described = describe(folder, Problems()) if folder else None
    if described is None:
        return {}
    part = described.events
    own = {part.user: "user", part.item: "item", part.time: "time", part.order: "order"}
    own |= {part.value: "value"} if part.value else {part.label: "label"}
    return {old: new for old, new in own.items() if old}


def _values(table: Table, interactions: Interactions) -> np.ndarray:
    """float64, NaN for an event that no history holds."""
    has_values, columns = "value" in interactions.events.columns, table.frame.columns
    if has_values:
        if "value" not in columns:
            raise ValueError(f"{table.file} has no column value; events of {interactions.name} have one")
        found = numbers(table.column("value"), "values are numbers")
        return np.zeros(0) if found is None else found.to_numpy()
    if "label" not in columns:
        return np.ones(len(table.frame))
    positive = flags(table.column("label"))
    return np.zeros(0) if positive is None else np.where(positive.to_numpy() > 0, 1.0, np.nan)


def _text(column: pl.Series) -> list[str]:
    """ "" for what is empty."""
    if column.dtype.is_float():
        whole_numbers = column.cast(pl.Int64, strict=False)
        column = whole_numbers if (whole_numbers == column).fill_null(True).all() else column
    return column.cast(pl.String).fill_null("").to_list()
