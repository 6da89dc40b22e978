"""Clients that behave, each a thread with our client: their answers are compared, their errors counted by class."""

import contextlib
import enum
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loadtest.pool import Pool, Request
from loadtest.records import OK, WRONG
from loadtest.stage import CLEAN
from recserve_client import Client
from recserve_client.errors import ModelUnavailable, QueueFull, ServerUnavailable, ServingError

THINK_S = 0.03
"""Between an answer and the next request."""
_RETRY_S = 0.1
_ATTEMPTS = 100


class Manner(enum.Enum):
    """What a client does about a server that goes away."""

    PLAIN = "asks one server"
    HEEDS = "asks for readiness first, and goes to the next server where there is none"
    RETRIES = "retries what is UNAVAILABLE at the next server"


class Phase(NamedTuple):
    """A part of an experiment."""

    name: str = ""
    """By which right answers are counted."""
    release: str = ""
    """That an edge is asked for; none where empty."""


class Crowd:
    """Clients that ask until they are stopped."""

    def __init__(self, urls: Sequence[str], pool: Pool, manners: Mapping[Manner, int], seed: int) -> None:
        self._urls = urls
        self._pool = pool
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outcomes: dict[Manner, Counter[str]] = {manner: Counter() for manner in manners}
        self._answers: Counter[tuple[str, int]] = Counter()
        self._slowest_s = 0.0
        self.phase = Phase()
        """What goes on from now on."""
        each = [manner for manner, number in manners.items() for _ in range(number)]
        self._threads = [
            threading.Thread(target=self._ask, args=(manner, random.Random(f"{seed}/{number}")))  # noqa: S311 - no secret
            for number, manner in enumerate(each)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def counts(self, manner: Manner) -> dict[str, Any]:
        """Requests, answers, and errors by class so far."""
        with self._lock:
            found = Counter(self._outcomes[manner])
        errors = {name: count for name, count in sorted(found.items()) if name not in (OK, WRONG)}
        return {
            "requests": found.total(),
            "ok": found[OK],
            "wrong": found[WRONG],
            "errors": errors,
            "unclean": sum(count for name, count in errors.items() if name not in CLEAN),
        }

    @property
    def answers(self) -> Counter[tuple[str, int]]:
        """Right answers by the phase in which they were asked for, and by the place in what the pool expects."""
        with self._lock:
            return Counter(self._answers)

    @property
    def slowest_s(self) -> float:
        """The longest that anybody waited for a right answer."""
        return self._slowest_s

    def _ask(self, manner: Manner, choice: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(url, deadline_s=30.0, retries=0)) for url in self._urls]
            self._ask_with(itertools.cycle(clients), manner, choice)

    def _ask_with(self, clients: Iterator[Client], manner: Manner, choice: random.Random) -> None:
        client = next(clients)
        while not self._stop.wait(THINK_S):
            request = choice.choice(self._pool.requests)
            if manner is Manner.HEEDS and not client.server_ready():
                client = next(clients)
            outcome = self._outcome(client, request)
            for _ in range(_ATTEMPTS if manner is Manner.RETRIES else 0):
                if outcome not in _UNAVAILABLE:
                    break
                time.sleep(_RETRY_S)
                client = next(clients)
                outcome = self._outcome(client, request)
            with self._lock:
                self._outcomes[manner][outcome] += 1

    def _outcome(self, client: Client, request: Request) -> str:
        phase, began = self.phase, time.monotonic()
        try:
            headers = {"x-release": phase.release} if phase.release else None
            answer = client.infer(self._pool.model, request.inputs, headers=headers)
        except ServingError as error:
            return type(error).__name__
        took, place = time.monotonic() - began, request.answered_by(answer)
        if place is None:
            return WRONG
        with self._lock:
            self._answers[phase.name, place] += 1
            self._slowest_s = max(self._slowest_s, took)
        return OK


_UNAVAILABLE = {one.__name__ for one in (ServerUnavailable, ModelUnavailable, QueueFull)}


@contextlib.contextmanager
def crowd(urls: Sequence[str], pool: Pool, manners: Mapping[Manner, int], seed: int) -> Iterator[Crowd]:
    """Asks inside; `urls` are the servers, the first one first, `manners` how many clients of each there are."""
    clients = Crowd(urls, pool, manners, seed)
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()
