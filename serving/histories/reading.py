"""How a version of a model reads a history: its newest events, by the ids that the version knows."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from serving.histories.history import Events
from serving.ids import IdMap

SCHEMA_FILE = "schema.json"
ITEMS, VALUES, LENGTH = "history_items", "history_values", "history_length"
NAMES = (ITEMS, VALUES, LENGTH)
AGES = "history_ages"
"""What a history may have beside `NAMES`."""
_OLDEST = 1 << 62
_BORDER = re.compile(r"up to (\S+)|over \S+ to (\S+)")


def older(newest: np.ndarray, times: np.ndarray) -> np.ndarray:
    """int64: how much older than the newest the events at these times int64 are, none of them newer; at most 2^62, and
    exact below, as differences of any two int64 do not fit into one."""
    return np.minimum(newest.astype(np.uint64) - times.astype(np.uint64), _OLDEST).astype(np.int64)


@dataclass(frozen=True)
class Reading:
    """Of one version folder."""

    dataset: str
    num_items: int
    """Dense ids are 1 to this number, 0 is unknown."""
    items: IdMap | None
    """From raw ids to dense ones; None where they are the same."""
    values: tuple[str, ...] | None
    """Names of the values' codes; None where a value is its own code."""
    num_values: int
    """Codes are below; 0 where events have no values, and all are 1."""

    @classmethod
    def of(cls, folder: Path, items: IdMap | None) -> Self | None:
        """What the version's schema says; None where it has none. Raises ValueError for a damaged one."""
        path = folder / SCHEMA_FILE
        if not path.is_file():
            return None
        try:
            schema: dict[str, Any] = json.loads(path.read_bytes())
            fields = schema["fields"]
            key = next(one for one in fields if one["role"] == "item" and "key" in one["uses"])
            value = next((one for one in fields if "value" in one["uses"]), {"values": None, "cardinality": 0})
            names = None if value["values"] is None else tuple(value["values"])
            return cls(schema["dataset"], key["cardinality"] - 1, items, names, value["cardinality"])
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            raise ValueError(f"{path} is no schema ({error!r}): export the model again") from error

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that change where the same events may be read as other arrays."""
        items = None if self.items is None else self.items.digest
        said = json.dumps([self.dataset, self.num_items, items, self.values, self.num_values])
        return hashlib.blake2b(said.encode(), digest_size=16).digest()

    def arrays(self, events: Events, length: int) -> dict[str, np.ndarray]:
        """`history_items`, `history_values` and `history_ages` int64 [1, length], newest first, and `history_length`
        int64 [1, 1]."""
        newest = events.of(np.arange(events.number)[::-1][:length])
        items, values, ages = (np.zeros((1, length), np.int64) for _ in range(3))
        items[0, : newest.number] = self._dense(newest.items)
        values[0, : newest.number] = self._codes(newest.values)
        ages[0, : newest.number] = older(newest.times[:1], newest.times)
        return {ITEMS: items, VALUES: values, AGES: ages, LENGTH: np.array([[newest.number]])}

    def newest(self, events: Events, least: int | None) -> int | None:
        """The item, by dense id, of the newest event, or of the newest whose value has at least the code `least`; None
        where there is none."""
        if least is None:
            places = np.arange(events.number)
        else:
            places = np.flatnonzero(self._codes(events.values) >= least)
        return int(self._dense(events.items[places[-1:]])[0]) if len(places) else None

    def _dense(self, raw: np.ndarray) -> np.ndarray:
        if self.items is not None:
            return self.items.dense(raw)
        return np.where((raw >= 1) & (raw <= self.num_items), raw, 0)

    def _codes(self, values: np.ndarray) -> np.ndarray:
        """0 for a value that the version has no code for."""
        if not self.num_values:
            return np.ones(len(values), np.int64)
        if self.values is None:
            whole = (values == np.floor(values)) & (values >= 0) & (values < self.num_values)
            return np.where(whole, values, 0).astype(np.int64)
        borders = [one[1] or one[2] for one in map(_BORDER.fullmatch, self.values[1:-1]) if one]
        if borders and len(borders) == len(self.values) - 2:
            return 1 + np.searchsorted(np.array(borders, np.float64), values)
        codes = {name: code for code, name in enumerate(self.values)}
        return np.array([codes.get(f"{value:.9g}", 0) for value in values.tolist()], np.int64)
