"""`recserve score RUN table.parquet --out scores.parquet`: a table of pairs scored without a server, as it would be."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recserve import runs, scoring
from recserve.commands.command import Command
from recserve.options import Positional
from training.interactions import Interactions
from training.schema import Role
from training.servable import TensorSpec

_READERS = {".parquet": pl.read_parquet, ".csv": pl.read_csv}


@dataclass(frozen=True, kw_only=True)
class Score(Command):
    """Score a table of users and items with a finished run, offline; the scores are those that would be served."""

    folder: Positional[Path]
    """Folder of the run, as `recserve train` printed it."""
    table: Positional[Path]
    """Parquet or CSV file with columns user and item, by the ids of the data set, and what else a request carries."""
    out: Path
    """Parquet file to write: the table, and a column score."""

    def run(self) -> int:
        trained = runs.load(self.folder)
        interactions = trained.data.interactions
        asked = scoring.ranker(runs.models(trained))
        frame = self._read()
        user, item = (_dense(interactions, frame, role, self.table) for role in ("user", "item"))
        further = {
            spec.name: _further(frame, spec, self.table)
            for spec in asked.inputs
            if spec.name not in ("user_id", "candidates") and spec.of is None
        }
        scores = scoring.offline(asked, user, item, further)
        self._write(frame.with_columns(score=pl.Series(scores)))
        unknown = {"users": int((user == 0).sum()), "items": int((item == 0).sum())}
        self.console.print(
            f"{self.out}: {len(frame)} rows scored by {asked.name} ({interactions.name}); rows of users who are "
            f"not known: {unknown['users']}, of items: {unknown['items']}",
            highlight=False,
            soft_wrap=True,
        )
        self.emit({"out": self.out, "rows": len(frame), "unknown": unknown, "system": trained.system.name})
        return 0

    def _read(self) -> pl.DataFrame:
        if not self.table.is_file() or self.table.suffix not in _READERS:
            raise ValueError(f"{self.table} is no file that ends in {' or '.join(_READERS)}")
        try:
            frame = _READERS[self.table.suffix](self.table)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{self.table} cannot be read: {error}") from error
        if missing := [name for name in ("user", "item") if name not in frame.columns]:
            raise ValueError(f"{self.table} has no column {missing[0]}; it has {', '.join(frame.columns)}")
        if not len(frame):
            raise ValueError(f"{self.table} has no rows")
        return frame

    def _write(self, frame: pl.DataFrame) -> None:
        """In one step, so that nobody reads half a file."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        partial = self.out.with_name(f".{self.out.name}.{os.getpid()}")
        frame.write_parquet(partial)
        partial.replace(self.out)


def _dense(interactions: Interactions, frame: pl.DataFrame, role: Role, table: Path) -> np.ndarray:
    """int64 [N]: dense ids of a column, 0 for unknown ones. Raises ValueError naming table, column and row."""
    column, ids = frame[role], interactions.ids.get(role)
    is_text = ids is not None and ids.kind == "string"
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise ValueError(f"{table}, column {role}, row {row}: it is empty; name a {role} in each row")
    if is_text != (column.dtype == pl.String) or not (is_text or column.dtype.is_integer()):
        wanted = "strings" if is_text else "whole numbers"
        raise ValueError(f"{table}, column {role} is {column.dtype}; ids of {interactions.name} are {wanted}")
    if ids is not None:
        return ids.dense(column.to_numpy())
    numbers = column.cast(pl.Int64).to_numpy()
    rows = interactions.users if role == "user" else interactions.items
    return np.where((numbers > 0) & (numbers < len(rows)), numbers, 0)


def _further(frame: pl.DataFrame, spec: TensorSpec, table: Path) -> np.ndarray:
    """[N, w]: a further input of a request, by dense ids; where the table has none it is missing, or 0."""
    width = spec.shape[0]
    assert isinstance(width, int)
    empty = np.nan if spec.dtype == "float32" and spec.minimum is None else 0
    values = np.full((len(frame), width), empty if spec.mapped is None else spec.mapped.filling, _type_of(spec))
    if spec.name in frame.columns:
        for row, given in enumerate(_cast(frame[spec.name], spec, table).to_list()):
            own = [one for one in (given if isinstance(given, list) else [given]) if one is not None][:width]
            values[row, : len(own)] = own
    return values if spec.mapped is None else spec.mapped.dense(values)


def _type_of(spec: TensorSpec) -> type:
    if spec.client_dtype == "string":
        return object
    return np.float32 if spec.dtype == "float32" else np.int64


def _cast(column: pl.Series, spec: TensorSpec, table: Path) -> pl.Series:
    """As the input's type. Raises ValueError naming table and column where it cannot be."""
    wanted = {object: pl.String, np.float32: pl.Float32, np.int64: pl.Int64}[_type_of(spec)]
    inner = column.dtype.inner if isinstance(column.dtype, pl.List) else column.dtype
    try:
        if wanted == pl.String and inner not in (pl.String, pl.Null):
            raise pl.exceptions.PolarsError("cast it to strings")
        return column.cast(pl.List(wanted) if isinstance(column.dtype, pl.List) else wanted)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{table}, column {spec.name} is {column.dtype}, not {spec.client_dtype}: {error}") from error
