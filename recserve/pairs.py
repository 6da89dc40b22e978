"""The table that `recserve score` reads: users, items and further inputs of a request, by raw ids, made dense.

What a request could not say is refused in one line with table, column and row (from 1).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from training.data.folder.dense import dense, whole
from training.data.folder.description import MULTI_SEPARATOR
from training.data.folder.files import Table
from training.data.folder.problems import Column, Problems
from training.data.folder.reading import readable
from training.interactions import Interactions
from training.schema import Role
from training.servable import TensorSpec

_ENDINGS = (".parquet", ".csv")
_WHOLE = r"^\s*(0|-?[1-9][0-9]*)(\.0*)?\s*$"
_NUMBERS = "write whole numbers; floats tell them apart up to 2^53"


class Pairs(NamedTuple):
    """A file in both forms."""

    frame: pl.DataFrame
    """With the types that the columns look like."""
    table: Table
    """As it is in the file: of CSV everything is text."""


def read(path: Path, names: Mapping[str, str] | None = None) -> Pairs:
    """`names`: what columns are called, where not user and item, and are to be called here.

    Raises ValueError for what is no table with columns user and item and at least one row.
    """
    if not path.is_file() or path.suffix not in _ENDINGS:
        raise ValueError(f"{path} is no file that ends in {' or '.join(_ENDINGS)}")
    with readable(path):
        typed = path.suffix == ".parquet"
        frame = pl.read_parquet(path) if typed else pl.read_csv(path, infer_schema_length=None)
        plain = frame if typed else pl.read_csv(path, infer_schema=False)
    own = {old: new for old, new in (names or {}).items() if old in frame.columns and new not in frame.columns}
    frame, plain = frame.rename(own), plain.rename(own)
    if missing := [name for name in ("user", "item") if name not in frame.columns]:
        raise ValueError(f"{path} has no column {missing[0]}; it has {', '.join(frame.columns)}")
    if not len(frame):
        raise ValueError(f"{path} has no rows")
    return Pairs(frame, Table(str(path), plain, typed, Problems()))


def dense_ids(table: Table, role: Role, interactions: Interactions) -> np.ndarray:
    """int64 [N]: dense ids of the role's column, 0 for unknown ones."""
    column, ids = table.column(role), interactions.ids.get(role)
    column.refuse(column.values.is_null(), "is empty", f"name a {role} in each row")
    column.problems.stop()
    is_text = ids is not None and ids.kind == "string"
    raw = _right(column, _text(column) if is_text else _whole(column)).to_numpy()
    if ids is not None:
        return ids.dense(raw)
    rows = interactions.users if role == "user" else interactions.items
    return np.where((raw > 0) & (raw < len(rows)), raw, 0)


def further(table: Table, spec: TensorSpec, interactions: Interactions) -> np.ndarray:
    """[N, w]: a further input of a request, by dense ids; where the table has none it is missing, or 0."""
    (width,) = spec.shape
    assert isinstance(width, int)
    is_float, is_text = spec.dtype == "float32", spec.client_dtype == "string"
    empty = np.nan if is_float and spec.missing else 0
    found = np.full(
        (len(table.frame), width),
        empty if spec.mapped is None else spec.mapped.filling,
        np.float32 if is_float else object if is_text else np.int64,
    )
    if spec.name in table.frame.columns:
        is_set = any(
            one.name == spec.name and one.kind == "multi" for one in interactions.schema.of("feature", "event")
        )
        column = _flat(table.column(spec.name), width, is_set=is_set)
        values = dense(column) if is_float else _text(column) if is_text else _whole(column)
        rows = _rows(column)
        found[rows, np.arange(len(rows)) - np.searchsorted(rows, rows)] = _right(column, values).to_numpy()
    return found if spec.mapped is None else spec.mapped.dense(found)


def _right(column: Column, values: pl.Series | None) -> pl.Series:
    """Raises ValueError where a problem was told."""
    column.problems.stop()
    assert values is not None
    return values


def _flat(column: Column, width: int, *, is_set: bool) -> Column:
    """All values with their rows; a list, or a text of a set, has several, at most `width`."""
    values = column.values
    if is_set and values.dtype == pl.String:
        values = values.str.split(MULTI_SEPARATOR).list.eval(pl.element().str.strip_chars())
    if isinstance(values.dtype, pl.List | pl.Array):
        values = values.cast(pl.List(values.dtype.inner)).list.drop_nulls()
        column.refuse(
            values.list.len() > width, "has more values than a request carries ({value})", f"give it {width} at most"
        )
    flat = pl.DataFrame({"row": pl.arange(1, len(values) + 1, eager=True), "value": values})
    flat = (flat.explode("value") if isinstance(values.dtype, pl.List) else flat).drop_nulls("value")
    column.problems.stop()
    return column._replace(values=flat["value"], rows=flat["row"])


def _rows(column: Column) -> np.ndarray:
    """int64, from 0."""
    assert column.rows is not None
    return column.rows.to_numpy() - 1


def _text(column: Column) -> pl.Series | None:
    if isinstance(column.values.dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        return column.values.cast(pl.String)
    column.error(f"holds {column.values.dtype}, and the model takes text: cast it to strings", 1)
    return None


def _whole(column: Column) -> pl.Series | None:
    if column.values.dtype == pl.String:
        if column.typed:
            column.error("holds String, and the model takes whole numbers: cast it", 1)
            return None
        if column.refuse(~column.values.str.contains(_WHOLE), "is {value}, no whole number", _NUMBERS):
            return None
        column = column._replace(values=column.values.str.strip_chars())
    return whole(column, _NUMBERS)
