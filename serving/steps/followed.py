"""Columns of users' rows that follow from the users' histories: worked out of them when a request comes.

A version folder says in `follows.json` which they are, and holds beside the rows, for a column that is a field of an
item, that field of all items.

Axes: I items with the unknown one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.histories.history import Events
from serving.histories.reading import Reading

FOLLOWS_FILE = "follows.json"
OF_ITEMS = "of items."
"""What the names of the items' fields among the rows begin with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """One column."""

    output: str
    """The array of the rows that it stands in, int64 [U, width]."""
    place: int
    least: int | None
    """Smallest code of an event's value with which it counts; None where all do."""
    none: int
    """What stands there while no event counts."""
    of_items: np.ndarray | None
    """int64 [I] by dense id: what the column is of the newest item; None for the item itself."""

    @property
    def array(self) -> str:
        """Name of `of_items` among the rows."""
        return f"{OF_ITEMS}{self.output}.{self.place}"

    def of(self, item: int | None) -> int:
        """What stands there where this is the newest item that counts, by dense id."""
        if item is None:
            return self.none
        return item if self.of_items is None else int(self.of_items[item])


def values(columns: Sequence[Followed], reading: Reading, events: Events) -> list[int]:
    """What stands in some columns of a user with these events."""
    newest = {least: reading.newest(events, least) for least in {one.least for one in columns}}
    return [one.of(newest[one.least]) for one in columns]


def write(folder: Path, columns: Sequence[Followed]) -> dict[str, np.ndarray]:
    """Writes the file of some columns, where there are any, and returns what belongs beside the rows."""
    if columns:
        said = [{**vars(one), "of_items": None if one.of_items is None else one.array} for one in columns]
        (folder / FOLLOWS_FILE).write_text(json.dumps(said, indent=2) + "\n")
    return {one.array: one.of_items for one in columns if one.of_items is not None}


def read(folder: Path, arrays: Mapping[str, np.ndarray]) -> tuple[Followed, ...]:
    """The columns of a version folder whose rows are `arrays`; none where it has no such file. Raises ValueError for a
    damaged one."""
    path = folder / FOLLOWS_FILE
    if not path.is_file():
        return ()
    try:
        return tuple(_column(one, arrays) for one in json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} says nothing of the rows beside it ({error!r}): export the model again") from error


def _column(said: dict, arrays: Mapping[str, np.ndarray]) -> Followed:
    array = said.pop("of_items")
    column = Followed(**said, of_items=None if array is None else arrays[array])
    if not 0 <= column.place < arrays[column.output].shape[1]:
        raise ValueError(f"{column.output} has no column {column.place}")
    return column
