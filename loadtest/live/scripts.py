"""What users are going to do, and what a model answers after each of it, recomputed away from any server.

Axes: V versions of the model, K events that a user is going to do, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export.histories import load
from export.served import data_of, published
from loadtest.pool import Tensors
from loadtest.scenario import Scenario
from serving.events.pushing import Row
from serving.histories.histories import MOST_EVENTS, Histories
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose
from serving.histories.opening import histories_beside, open_histories
from serving.in_process import InProcessModel
from training.interactions import Interactions

_GAP = 10
"""Ticks between the newest event of the data set and the first of a script."""
_CLOSE = 2e-6
"""Scores further apart are not the same."""
_STRANGERS = 10**15
"""Ids from here on are of users whom no data set has."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """One user's."""

    user: int | str
    request: Tensors
    """What is asked about this user, always the same."""
    before: Events | None
    """The history before all of the events."""
    rows: tuple[Row, ...]
    """K events in the order in which they are sent, which is none of their times."""
    expected: np.ndarray
    """float32 [V, K + 1, C]: the scores after so many of the events."""

    def counts(self, scores: np.ndarray) -> list[int]:
        """After how many events these are the scores [C]; empty where they never are."""
        close = np.abs(self.expected - scores).max(axis=-1) <= _CLOSE
        return np.flatnonzero(close.any(axis=0)).tolist()

    @property
    def told_apart(self) -> float:
        """Share of the events that change the scores by three times more than what counts as the same."""
        steps = np.abs(np.diff(self.expected, axis=1)).max(axis=(0, 2))
        return float((steps > 3 * _CLOSE).mean())


class Recomputation:
    """The model in this process, over a store of histories of its own."""

    def __init__(self, repository: Path, model: str, interactions: Interactions, folder: Path, most: int) -> None:
        """In a new folder; `most` events of a user are kept. Raises ValueError where the model cannot run here."""
        folder.mkdir(parents=True)
        for one in repository.glob("[!.]*"):
            (folder / one.name).symlink_to(one.resolve())
        self.histories = Histories(open_histories(histories_beside(folder)))
        self._most = most
        for _ in load(self.histories, interactions, most):
            pass
        versions = sorted(int(path.name) for path in (folder / model).glob("[1-9]*"))
        self._models = [InProcessModel.open(folder / model, version=str(number)) for number in versions]

    def scores(self, request: Tensors) -> np.ndarray:
        """float32 [V, C] of the user as he is now."""
        return np.stack([model.run([dict(request)])[0]["scores"].reshape(-1) for model in self._models])

    def append(self, whose: Whose, row: Row, item: int | str) -> None:
        """One event; `item` is the raw id of `row`'s."""
        items = np.empty(1, object if isinstance(item, str) else np.int64)
        items[0] = item
        times, orders = (np.array([number], np.int64) for number in (row.time, row.order))
        event = Events(items, np.array([row.value]), times, orders, np.array([id_of(row.event_id)], np.uint64))
        self.histories.append({whose: event}, self._most)

    def replace(self, whose: Whose, events: Events | None) -> None:
        """Takes these events for the user's history; None for a user without one."""
        self.histories.store.drop([whose.key])
        if events is not None:
            self.histories.append({whose: events}, self._most)

    def of(self, whose: Whose) -> Events | None:
        """The user's history."""
        return self.histories.of([whose])[0]

    def close(self) -> None:
        """Closes models and store."""
        for model in self._models:
            model.close()
        self.histories.close()


class Size(NamedTuple):
    """Of a play."""

    users: int
    events: int
    """Of each user, to come."""
    most: int = MOST_EVENTS
    """Events of each user that a store keeps."""


class Play:
    """The scripts of several users of one data set, and the recomputation that they were made with."""

    def __init__(self, repository: Path, model: str, folder: Path, size: Size, seed: int = 0) -> None:
        """A tenth of the users are such as the data set does not have. Raises ValueError where the model is not served
        here."""
        self.model, self.most, users = model, size.most, size.users
        self.interactions = data_of(published(repository, model))
        self.recomputed = Recomputation(repository, model, self.interactions, folder / "recomputed", size.most)
        random = np.random.default_rng(seed)
        asked = {one["user_id"].item(): one for one in Scenario(model).requests(repository, seed)}
        chosen = [*asked.items()][: users - users // 10]
        known = [user for user, _ in chosen]
        chosen += [self._stranger(number, asked[known[number]]) for number in range(users // 10)]
        self.scripts = [self._script(user, request, known, size.events, random) for user, request in chosen]

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.interactions.name

    def whose(self) -> list[Whose]:
        """The users of the scripts."""
        return [Whose(self.dataset, script.user) for script in self.scripts]

    def faults(self, store: Histories) -> dict[str, int]:
        """Events of the scripts that a store lacks, that it has twice, and users whose histories are not the
        recomputation's."""
        found, wanted = (one.of(self.whose()) for one in (store, self.recomputed.histories))
        lost = double = unlike = 0
        for own, right in zip(found, wanted, strict=True):
            assert right is not None
            ids = np.zeros(0, np.uint64) if own is None else own.ids
            lost += len(np.setdiff1d(right.ids, ids))
            double += len(ids) - len(np.unique(ids))
            unlike += not np.array_equal(ids, right.ids)
        return {"lost": lost, "double": double, "unlike": unlike}

    def knows_a_later_part(self, script: Script, scores: np.ndarray, sent: int) -> bool:
        """Whether these are the scores after some of the events in a row without those before: what is answered while a
        store that lost some is told again. The recomputation's history stays as it is."""
        whose, rows = Whose(self.dataset, script.user), script.rows[:sent]
        kept = self.recomputed.of(whose)
        try:
            return any(self._is_answer_from(script, scores, first, whose) for first in range(1, len(rows)))
        finally:
            self.recomputed.replace(whose, kept)

    def _is_answer_from(self, script: Script, scores: np.ndarray, first: int, whose: Whose) -> bool:
        """Whether these are the scores after some events in a row that begin with the `first`."""
        self.recomputed.replace(whose, script.before)
        for row in script.rows[first:]:
            self.recomputed.append(whose, row, self.interactions.named("item", row.item))
            if (np.abs(self.recomputed.scores(script.request) - scores).max(axis=-1) <= _CLOSE).any():
                return True
        return False

    def _stranger(self, number: int, request: Tensors) -> tuple[int | str, Tensors]:
        is_text = self.interactions.has_text_ids("user")
        user: Any = f"stranger {number}" if is_text else _STRANGERS + number
        ids = np.full_like(request["user_id"], user)
        return user, {**request, "user_id": ids}

    def _script(
        self, user: int | str, request: Tensors, others: Sequence[int | str], number: int, random: np.random.Generator
    ) -> Script:
        whose, begin = Whose(self.dataset, user), int(self.interactions.events["time"].to_numpy().max()) + _GAP
        found = self.recomputed.of(Whose(self.dataset, others[random.integers(len(others))]))
        assert found is not None
        places, times = random.integers(0, found.number, number), begin + random.permutation(number)
        before, rows, expected = self.recomputed.of(whose), [], [self.recomputed.scores(request)]
        for place, (item, value) in enumerate(
            zip(found.items[places].tolist(), found.values[places].tolist(), strict=True)
        ):
            row = Row(str(user), str(item), value, int(times[place]), 0, f"{user}: {place}")
            self.recomputed.append(whose, row, item)
            rows.append(row)
            expected.append(self.recomputed.scores(request))
        return Script(user=user, request=request, before=before, rows=tuple(rows), expected=np.stack(expected, axis=1))
