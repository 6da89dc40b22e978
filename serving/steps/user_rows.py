"""The step `user_rows`: user id -> the rows of that user in a file, those of the unknown user for one who has none.

Histories among the rows, and columns that follow from them, are those of the store of histories where it has one of the
user. The file is mapped, so that all instances on a machine share it, however many users it has. Only the rows that are
asked for are copied.

Axes: U users who have rows, B rows of a request.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.histories.examples import example_of
from serving.histories.live import Live, RawUser
from serving.histories.ragged import unpacked
from serving.histories.reading import ITEMS
from serving.mapped import mapped
from serving.steps import followed
from serving.steps.checked import RAW_USERS, CheckedModel
from serving.steps.live_users import CANDIDATES, USER_ID, open_live, raw_users
from serving.steps.step import Host, Refusal, Tensors
from serving.steps.unknown import Unknown

ROWS_FILE = "rows.safetensors"
UNKNOWN = "unknown."
"""What the names of the unknown user's rows begin with."""
KEYS = "keys"
"""The array of the file that holds the user ids, int64 [U] ascending."""


class RowsStep:
    """The rows of dynamic batches of users, from the file of one version folder."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Raises ValueError for a damaged file, or one that is not of the model's configuration."""
        self._model = CheckedModel(folder)
        self._strangers = Unknown.of(host, folder.parent.name)
        path = folder / ROWS_FILE
        held = mapped(path, "rows")
        arrays = unpacked(held)
        names = [output.name for output in self._model.spec.outputs]
        if missing := sorted({KEYS, *names} - set(arrays)):
            raise ValueError(f"{path} has no {missing}: export the model again")
        self._followed = followed.read(folder, held)
        self._live = open_live(host, folder, self._model.ids, set(names), follows=bool(self._followed))
        self._keys = held[KEYS]
        self._arrays = {name: arrays[name] for name in names}
        self._unknown = {name: arrays.get(f"{UNKNOWN}{name}", np.zeros((), arrays[name].dtype)) for name in names}
        if not len(self._keys) or (self._keys[1:] <= self._keys[:-1]).any():
            raise ValueError(f"{path}: {KEYS} are not user ids in strictly ascending order: export the model again")
        for output in self._model.spec.outputs:
            array = self._arrays[output.name]
            dtype = output.dtype if self._model.ids.of(output.name) is None else np.int64
            if len(array) != len(self._keys) or array.dtype != dtype:
                found = f"{array.dtype} with {len(array)} rows"
                raise ValueError(f"{path}: {output.name} is {found}, not {dtype} with {len(self._keys)}")

    def answer(self, requests: Sequence[Tensors]) -> list[Tensors | Refusal]:
        """Each named array [B, ...] of each request's `user_id` [B, 1], in order; a request that is wrong is refused
        alone."""
        return self._model.answer(requests, self._rows)

    def close(self) -> None:
        """Closes the store of histories; the rows are mapped from the file."""
        if self._live is not None:
            self._live.close()

    def _rows(self, requests: Sequence[Tensors]) -> list[Tensors]:
        users = np.concatenate([request[USER_ID].reshape(-1) for request in requests])
        rows = np.minimum(np.searchsorted(self._keys, users), len(self._keys) - 1)
        is_unknown = self._keys[rows] != users
        candidates = [request[CANDIDATES] for request in requests if CANDIDATES in request]
        self._strangers.add(len(users), int(is_unknown.sum()), candidates)
        borders = np.cumsum([request[USER_ID].size for request in requests])[:-1]
        found: list[Tensors] = [{} for _ in requests]
        for name, array in self._arrays.items():
            values = array[rows]
            values[is_unknown] = self._unknown[name]
            for one, part in zip(found, np.split(values, borders), strict=True):
                one[name] = part
        found = self._with_live(found, [raw_users(request[RAW_USERS]) for request in requests])
        return [self._model.ids.raw(rows) for rows in found]

    def _with_live(self, found: list[Tensors], users: Sequence[Sequence[RawUser]]) -> list[Tensors]:
        """Histories as they are now, and what follows from them, in place of what was exported."""
        if self._live is None:
            return found
        asked = dict.fromkeys(user for own in users for user in own if example_of(user) is None)
        live = self._live.of([*asked])
        for rows, own in zip(found, users, strict=True):
            for row, user in enumerate(own):
                if user in live:
                    self._update(rows, row, live[user])
        return found

    def _update(self, rows: Tensors, row: int, live: Live) -> None:
        if ITEMS in rows:
            arrays = live.arrays(rows[ITEMS].shape[1])
            for name in arrays.keys() & rows.keys():
                rows[name][row] = arrays[name][0]
        if self._followed:
            found = followed.values(self._followed, live.reading, live.events)
            for column, value in zip(self._followed, found, strict=True):
                rows[column.output][row, column.place] = value
