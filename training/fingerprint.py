"""What a run remembers of its data beside the schema: how much there was, and whether it is the same still."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import polars as pl

from training.interactions import Interactions


class TablePrint(NamedTuple):
    """A table."""

    rows: int
    """The row of the unknown user or item aside; 0 where nobody is described."""
    digest: str
    """16 hex digits of names, types and values, in order."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The tables of a data set in its canonical form, its events cut at a day where a run reads them so."""

    events: TablePrint
    users: TablePrint
    items: TablePrint

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """Reads each value once."""
        return cls(
            events=TablePrint(len(interactions.events), _digest(interactions.events)),
            users=TablePrint(max(0, len(interactions.users) - 1), _digest(interactions.users)),
            items=TablePrint(max(0, len(interactions.items) - 1), _digest(interactions.items)),
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict` and JSON."""
        return cls(**{name: TablePrint(*table) for name, table in values.items()})

    def changes(self, now: Self) -> str:
        """What is not as it was, for people; empty where nothing is."""
        pairs = [(field.name, getattr(self, field.name), getattr(now, field.name)) for field in fields(self)]
        return ", ".join(_change(name, before, after) for name, before, after in pairs if before != after)


def _change(name: str, before: TablePrint, now: TablePrint) -> str:
    if before.rows == now.rows:
        return f"{before.rows:,} {name}, now as many with other values"
    return f"{before.rows:,} {name}, now {now.rows:,}"


def _digest(frame: pl.DataFrame) -> str:
    found = hashlib.blake2b(digest_size=8)
    for column in frame.iter_columns():
        found.update(f"{column.name}\0{column.dtype}\0".encode())
        for part in _parts(column):
            found.update(part)
    return found.hexdigest()


def _parts(column: pl.Series) -> Iterator[bytes]:
    """The values of a column; of lists and texts their lengths before them."""
    if isinstance(column.dtype, pl.List):
        yield column.list.len().to_numpy().tobytes()
        yield from _parts(column.explode(empty_as_null=False))
    elif column.dtype == pl.String:
        yield column.str.len_bytes().to_numpy().tobytes()
        yield column.str.join("").item().encode()
    else:
        yield column.to_numpy().tobytes()
