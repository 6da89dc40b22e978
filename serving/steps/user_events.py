"""The step `user_events`: what users did is appended to their histories.

All pushes of a dynamic batch are written together. A push is answered when its events are in the store, so that every
request after it knows them, on every server that shares the store.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from recserve_client import texts
from serving.histories.facts import Facts
from serving.histories.histories import Histories, UnknownDatasetError
from serving.histories.history import Events, Outcome
from serving.histories.keys import Whose
from serving.histories.pushed import Judged, Push, Reason, events_of, judged, push_of
from serving.histories.store import HistoryStoreError
from serving.steps.step import Answer, Host, Refusal, Tensors
from serving.watch import families

OUTCOMES = (*get_args(Outcome), *get_args(Reason))
LATE_S = 86_400
"""How much older than the newest event of its user a new one may be."""
_TOLD = {
    "conflict": "refused: event_id names another event of this user, with other values",
    "unreadable": "refused: what is stored of this user is damaged or has other ids; see recserve events drop",
    "late": f"refused: time goes backwards, more than {LATE_S} s behind the newest event of this user",
}


class EventsStep:
    """Appends the events of dynamic batches of pushes."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Of a version folder, which says nothing: what is known of a data set lies in the store. Raises ValueError
        where there is none."""
        histories = host.histories()
        if histories is None:
            raise ValueError("there is no store of histories: name one in RECSERVE_HISTORIES, lmdb:///directory")
        self._histories = histories
        self._count = host.counter(families.USER_EVENTS, folder.parent.name, OUTCOMES)

    def answer(self, requests: Sequence[Tensors]) -> list[Answer]:
        """`outcome` text [1, N] for each push of N events, in order. What is no N events of a data set is refused as a
        whole; where the store fails, all are, and may be pushed again."""
        try:
            return _Batch(self._histories, self._count).answer(requests)
        except HistoryStoreError as error:
            refused = Refusal(f"{error}; push the same events again, what was taken is not taken twice", "UNAVAILABLE")
            return [refused] * len(requests)

    def close(self) -> None:
        """Closes the store."""
        self._histories.close()


class _Batch:
    """Pushes that are written together."""

    def __init__(self, histories: Histories, count: Callable[[str, int], None]) -> None:
        self._histories = histories
        self._count = count

    def answer(self, requests: Sequence[Tensors]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        known: dict[str, Facts] = {}
        pushes: dict[str, dict[int, tuple[Push, Judged]]] = {}
        for number, request in enumerate(requests):
            try:
                dataset, push = _name(request["dataset"]), push_of(request)
                if dataset not in known:
                    known[dataset] = self._histories.facts(dataset)
                found = judged(known[dataset], push)
            except UnknownDatasetError as error:
                answers[number] = self._unknown(str(error), request["user_id"].size)
            except ValueError as error:
                answers[number] = Refusal(str(error), "INVALID_ARG")
            else:
                pushes.setdefault(dataset, {})[number] = push, found
        for dataset, ours in pushes.items():
            told = self._append(known[dataset], ours)
            answers |= {number: _outcome(one) for number, one in told.items()}
        return [answers[number] for number in range(len(requests))]

    def _unknown(self, why: str, number: int) -> Answer:
        self._count("unknown_dataset", number)
        return _outcome([f"refused: {why}"] * number)

    def _append(self, facts: Facts, pushes: dict[int, tuple[Push, Judged]]) -> dict[int, list[str]]:
        """What is told of each event, by number of the request."""
        arrived: dict[Whose, list[Events]] = {}
        origins: dict[Whose, list[tuple[int, int]]] = {}
        for number, (push, found) in pushes.items():
            for whose, places in found.places.items():
                arrived.setdefault(whose, []).append(events_of(push, found, places, facts.items.ids.dtype))
                origins.setdefault(whose, []).extend((number, place) for place in places)
        joined = {
            whose: Events(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            for whose, parts in arrived.items()
        }
        late = None if facts.ticks is None else LATE_S * facts.ticks
        outcomes = self._histories.append(joined, facts.most, late)
        told = {number: _told(self._count, push, found) for number, (push, found) in pushes.items()}
        for whose, ours in outcomes.items():
            for (number, place), outcome in zip(origins[whose], ours, strict=True):
                told[number][place] = _TOLD.get(outcome, outcome)
            for outcome, events in Counter(ours).items():
                self._count(outcome, events)
        return told


def _outcome(told: Sequence[str]) -> Answer:
    return {"outcome": np.array([told], object)}


def _told(count: Callable[[str, int], None], push: Push, found: Judged) -> list[str]:
    """Of those that are refused; "" for the others."""
    told = [""] * len(push.user_id)
    for place, (reason, text) in found.refused.items():
        told[place] = f"refused: {text}"
        count(reason, 1)
    return told


def _name(dataset: np.ndarray) -> str:
    names = dataset.reshape(-1)
    if names.size != 1:
        raise ValueError(f"dataset has {names.size} elements: name the one data set that the events belong to")
    texts.check(names)
    return str(texts.decoded(names)[0])
