"""Events into a running server, through its model `user_events`."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from recserve_client import Client
from recserve_client.errors import (
    DeadlineExceeded,
    ModelUnavailable,
    QueueFull,
    RateLimited,
    ServerUnavailable,
    ServingError,
)
from serving.histories.pushed import MOST, sendable
from serving.steps import USER_EVENTS

DEADLINE_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_PASSING = (QueueFull, RateLimited, ServerUnavailable, DeadlineExceeded, ModelUnavailable)


class Row(NamedTuple):
    """An event, by raw ids as text."""

    user: str
    item: str
    value: float
    time: int
    order: int
    event_id: str


class Pusher:
    """Pushes events of one data set; what a server did not answer is pushed again, which changes nothing twice."""

    def __init__(
        self,
        client: Client,
        dataset: str,
        *,
        patience_s: float = 60.0,
        waiting: Callable[[str], None] = lambda why: None,
    ) -> None:
        """`patience_s`: how long a server may be away, or its store, before a push fails; `waiting` is told why one
        waits, once for each reason."""
        self._client = client
        self._dataset = dataset
        self._patience_s = patience_s
        self._waiting = waiting
        self.counts: Counter[str] = Counter()
        """Events by what came of them: the first word of their outcome."""

    def push(self, rows: Sequence[Row]) -> list[str]:
        """What the server says of each event, in order. Raises ServingError where it stays away."""
        told: list[str] = []
        for start in range(0, len(rows), MOST):
            told += self._push(rows[start : start + MOST])
        self.counts.update(one.partition(":")[0] for one in told)
        return told

    def _push(self, rows: Sequence[Row]) -> list[str]:
        request = self._request(rows)
        end, wait, said = time.monotonic() + self._patience_s, _FIRST_WAIT_S, ""
        while True:
            try:
                answer = self._client.infer(USER_EVENTS, request, deadline_s=DEADLINE_S)
                return answer["outcome"][0].tolist()
            except _PASSING as error:
                if time.monotonic() + wait > end:
                    raise self._named(error) from None
                if type(error).__name__ != said:
                    said = type(error).__name__
                    self._waiting(str(self._named(error)))
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)

    def _named(self, error: ServingError) -> ServingError:
        """With the remedy, where the server has no model that takes events."""
        if not isinstance(error, ModelUnavailable):
            return error
        return ModelUnavailable(
            f"the server does not serve {USER_EVENTS}, so it takes no events now; where its repository lacks that "
            f"model, `recserve events load {self._dataset} --repository <its repository>` adds it"
        )

    def _request(self, rows: Sequence[Row]) -> dict[str, np.ndarray]:
        users, items, values, times, orders, ids = zip(*rows, strict=True)
        return {
            "dataset": np.array([[self._dataset]], object),
            "user_id": _texts(users),
            "item_id": _texts(items),
            "value": np.array([values], np.float64),
            "time": np.array([times], np.int64),
            "order": np.array([orders], np.int64),
            "event_id": _texts(ids),
        }


def _texts(ids: Sequence[str]) -> np.ndarray:
    """What cannot be sent is "", which the server refuses by name, so that one event never holds up the others."""
    return np.array([[sendable(one) for one in ids]], object)
