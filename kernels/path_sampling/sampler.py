"""Paths of the candidates of requests: what a MATT sampler computes, from tables of ids and the counts of training.

The fields of one side (user or item) are weighed among themselves once, when the tables are opened; what remains for a
candidate are the pairs of its fields with the user id, and of the user's fields with its item id.

Legend: U users and I items of the tables, Fu + Fi = F fields, R requests, C candidates packed over them, P paths.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kernels.path_sampling import cpu
from kernels.path_sampling.hph import Frequencies, combine, of_counts, single_keys
from kernels.path_sampling.instances import Aggregation, shares
from kernels.path_sampling.reference import Plan, anchor_mask

SAMPLER_FILE = "sampler.json"
FREQUENCIES_FILE = "frequencies.safetensors"
TABLES_FILE = "fields.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """The fields of users and items; the first field of each side is its id, which every path keeps."""

    user_ids: np.ndarray
    """int64 [U]: raw ids, ascending. None, where every request brings the fields of its user."""
    user_rows: np.ndarray
    """int64 [U, Fu]: ids of the user's fields."""
    item_rows: np.ndarray
    """int64 [I + 1, Fi]: ids of the item's fields, by raw item id; row 0 is that of unknown items."""
    new_user: np.ndarray
    """int64 [Fu]: ids of the fields of a user who is not in the table."""

    def __post_init__(self) -> None:
        for name, ndim in (("user_ids", 1), ("user_rows", 2), ("item_rows", 2), ("new_user", 1)):
            array = getattr(self, name)
            if array.dtype != np.int64 or array.ndim != ndim:
                raise ValueError(f"{name} must be int64 with {ndim} axes, not {array.dtype} {list(array.shape)}")
        if len(self.user_rows) != len(self.user_ids) or (self.user_ids[1:] <= self.user_ids[:-1]).any():
            raise ValueError("user_ids must ascend, each user once, with one row of user_rows each")
        if len(self.new_user) != self.user_rows.shape[1]:
            raise ValueError(f"new_user has {len(self.new_user)} fields, user_rows {self.user_rows.shape[1]}")
        if 0 in (self.user_rows.shape[1], *self.item_rows.shape):
            raise ValueError("user_rows and item_rows need a field each, and item_rows the row of unknown items")

    @property
    def anchors(self) -> tuple[int, int]:
        """Fields that every path keeps: user id and item id."""
        return 0, self.user_rows.shape[1]

    @property
    def num_fields(self) -> int:
        return self.user_rows.shape[1] + self.item_rows.shape[1]


class CandidatePaths(NamedTuple):
    """Paths of C candidates."""

    masks: np.ndarray
    """int64 [C, P]: bit f is set where the path keeps field f."""
    weights: np.ndarray
    """float32 [C, P + 1]: the share of the full path (column 0) and of each sampled one in the answer."""


class _Side(NamedTuple):
    """One side's rows, and what they say by themselves."""

    rows: np.ndarray
    """int64 [n, Fs]"""
    single: np.ndarray
    """int64 [n, Fs]: lower bounds of the ids."""
    confidence: np.ndarray
    """float64 [n, Fs]"""
    with_anchor: np.ndarray
    """float64 [n, Fs]: confidence together with the side's own anchor, its first field."""

    @classmethod
    def of(cls, frequencies: Frequencies, rows: np.ndarray, first_field: int) -> Self:
        fields = first_field + np.arange(rows.shape[1])
        single = frequencies.singles.lower(single_keys(rows, fields))
        confidence = of_counts(single, frequencies.singles.largest)
        with_anchor = confidence.copy()
        with_anchor[:, 1:] = frequencies.pair_confidence(
            (rows[:, 1:], rows[:, :1]), (single[:, 1:], single[:, :1]), (fields[1:], fields[:1])
        )
        return cls(rows, single, confidence, with_anchor)


class Sampler:
    """Paths of candidates; a request's key, the user and the item alone decide them."""

    def __init__(self, frequencies: Frequencies, tables: Tables, plan: Plan, aggregation: Aggregation) -> None:
        """Raises ValueError where frequencies, tables and plan are not of the same fields."""
        if frequencies.num_fields != tables.num_fields:
            raise ValueError(f"frequencies of {frequencies.num_fields} fields, tables of {tables.num_fields}")
        if plan.anchors != anchor_mask(tables.anchors):
            raise ValueError(f"the plan's anchors are {plan.anchors:#x}; they must be the fields {tables.anchors}")
        self.frequencies, self.tables, self.plan, self.aggregation = frequencies, tables, plan, aggregation
        self._users = _Side.of(frequencies, np.concatenate((tables.user_rows, tables.new_user[None])), 0)
        self._items = _Side.of(frequencies, tables.item_rows, tables.anchors[1])

    def sample(
        self, users: np.ndarray, candidates: np.ndarray, counts: np.ndarray, request_keys: np.ndarray
    ) -> CandidatePaths:
        """Paths of candidates int64 [C]; `users` raw ids, `counts` and `request_keys` int64 [R] are of the requests."""
        return self._paths(self._users, self._user_places(users), candidates, counts, request_keys)

    def sample_rows(
        self, rows: np.ndarray, candidates: np.ndarray, counts: np.ndarray, request_keys: np.ndarray
    ) -> CandidatePaths:
        """As `sample`, of users with these fields, int64 [R, Fu], whatever the table says."""
        users = _Side.of(self.frequencies, rows, 0)
        return self._paths(users, np.arange(len(rows)), candidates, counts, request_keys)

    def _paths(
        self, users: _Side, places: np.ndarray, candidates: np.ndarray, counts: np.ndarray, request_keys: np.ndarray
    ) -> CandidatePaths:
        """Of the requests whose users are these rows of `users`."""
        items = np.where((candidates >= 0) & (candidates < len(self._items.rows)), candidates, 0)
        weights = self._weights(users, np.repeat(places, counts), items)
        keys = cpu.combination_keys((np.repeat(request_keys, counts), candidates), (0, 1))
        masks, _ = cpu.draw_paths(weights, cpu.path_words(keys, self.plan), self.plan.anchors)
        of_paths = shares(torch.from_numpy(masks), torch.from_numpy(weights), self.plan.anchors, self.aggregation)
        return CandidatePaths(masks, of_paths.numpy())

    def knows(self, users: np.ndarray) -> np.ndarray:
        """Which of these raw ids the tables have, bool of the same shape."""
        return self._user_places(users) < len(self.tables.user_ids)

    def _user_places(self, users: np.ndarray) -> np.ndarray:
        """Rows of raw user ids; an unknown user has the last one."""
        known = self.tables.user_ids
        place = np.searchsorted(known, users)
        return np.where(np.append(known, -1)[place] == users, place, len(known))

    def _weights(self, users: _Side, user_places: np.ndarray, items: np.ndarray) -> np.ndarray:
        """int32 [C, F]: `hph.weights` of rows of users and of items, int64 [C] each."""
        sides = (users, user_places), (self._items, items)
        user, item = (_Side(*(part[places] for part in side)) for side, places in sides)
        num_users, num_items = user.rows.shape[1], item.rows.shape[1]
        # The user's id with every field of the item, then the item's id with every other field of the user.
        of_user = np.concatenate((np.zeros(num_items, np.int64), np.arange(1, num_users)))
        of_item = np.concatenate((np.arange(num_items), np.zeros(num_users - 1, np.int64)))
        across = self.frequencies.pair_confidence(
            (user.rows[:, of_user], item.rows[:, of_item]),
            (user.single[:, of_user], item.single[:, of_item]),
            (of_user, num_users + of_item),
        )
        with_user = np.concatenate((user.with_anchor, across[:, :num_items]), axis=1)
        with_item = np.concatenate((across[:, :1], across[:, num_items:], item.with_anchor), axis=1)
        return combine(np.concatenate((user.confidence, item.confidence), axis=1), (with_user, with_item))

    def save(self, folder: Path) -> None:
        """Writes the sampler's files into a version folder."""
        self.frequencies.save(folder / FREQUENCIES_FILE)
        save_file(
            {name: np.ascontiguousarray(array) for name, array in vars(self.tables).items()}, folder / TABLES_FILE
        )
        description = {"plan": asdict(self.plan), "aggregation": asdict(self.aggregation)}
        (folder / SAMPLER_FILE).write_text(json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Opens what `save` wrote, the counts mapped. Raises ValueError naming the file that is wrong."""
        frequencies = Frequencies.load(folder / FREQUENCIES_FILE)
        try:
            description = json.loads((folder / SAMPLER_FILE).read_text())
            plan, aggregation = Plan(**description["plan"]), Aggregation(**description["aggregation"])
            return cls(frequencies, Tables(**_tables(folder)), plan, aggregation)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder} holds no path sampler ({error}): export the model again") from error


def _tables(folder: Path) -> dict[str, np.ndarray]:
    arrays = load_file(folder / TABLES_FILE)
    # In earlier releases, and in the scorers published with them, zeros stand for every unknown user.
    return {"new_user": np.zeros(arrays["user_rows"].shape[1], np.int64), **arrays}
