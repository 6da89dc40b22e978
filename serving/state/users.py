"""Users by the ids that clients send, and what a server asks its store of states about them, outside of the server."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.configs import read_config
from serving.histories.guard import GuardedHistories
from serving.histories.histories import Histories
from serving.histories.live import Live, LiveHistories, RawUser
from serving.histories.opening import folder_beside, histories_beside
from serving.histories.reading import NAMES, Reading
from serving.ids import IdMaps, mapped_ids
from serving.state.source import Question, StateSource

_USER, _ITEMS = "user_id", "candidates"


class Users:
    """Those of one version of a user-state model, with their histories as they are now."""

    def __init__(self, repository: Path, source: StateSource, histories: str | None = None) -> None:
        """`histories`: URL of their store, <repository>.histories by default. Raises ValueError for a damaged version
        folder."""
        self._source = source
        model = repository / source.model
        parameters = {name: one.string_value for name, one in read_config(model, "cpu").parameters.items()}
        folder = model / str(source.version)
        ids = IdMaps.load(folder, mapped_ids(parameters))
        self._ids = ids.of(_USER)
        self.counts: Counter[str] = Counter()
        """Users by where their histories came from, see `LiveHistories`."""
        reads = {*NAMES} <= {*source.spec.inputs} and (histories or folder_beside(repository).exists())
        reading = Reading.of(folder, ids.of(_ITEMS)) if reads else None
        store = Histories(GuardedHistories(histories or histories_beside(repository), create=False))
        self._live = None if reading is None else LiveHistories(store, reading, self._count)

    def named(self, user: int | str) -> RawUser:
        """As a client sends the user. Raises ValueError for text where ids are whole numbers."""
        if self._ids is not None and self._ids.kind == "string":
            return str(user)
        try:
            number = int(user)
            np.int64(number)
            return number
        except (ValueError, OverflowError):
            said = f"user_id {user} is no whole number of 64 bits, as the ids of {self._source.model} are"
            raise ValueError(said) from None

    def dense(self, user: RawUser) -> int:
        """The id that keys have; 0 for one whom a map of ids does not know."""
        if self._ids is None:
            return int(user)
        dtype = object if isinstance(user, str) else np.int64
        return int(self._ids.dense(np.array([user], dtype))[0])

    def raw(self, dense: np.ndarray) -> list[RawUser]:
        """As clients send them, of dense ids int64 [N]."""
        return (dense if self._ids is None else self._ids.raw(dense)).tolist()

    def questions(self, users: Sequence[RawUser]) -> list[Question]:
        """What is asked about distinct users. Raises ValueError for one of whom there is no history."""
        live = {} if self._live is None else self._live.of(users)
        return [self._question(user, live.get(user)) for user in users]

    def _question(self, user: RawUser, live: Live | None) -> Question:
        dense = self.dense(user)
        if live is not None:
            return self._source.live(dense, user, live)
        if not dense:
            raise ValueError(f"user_id {user}: {self._source.model} version {self._source.version} knows no such user")
        return self._source.question(dense)

    def close(self) -> None:
        """Closes the store of histories."""
        if self._live is not None:
            self._live.close()

    def _count(self, outcome: str, number: int) -> None:
        self.counts[outcome] += number
