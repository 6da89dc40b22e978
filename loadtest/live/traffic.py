"""Threads that ask about users while others send what these do, and judge every answer by what was known when."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from loadtest.live.scripts import Play, Script
from recserve_client import Client
from recserve_client.errors import ServingError

FRESH, OLDER, LATER, WRONG = "fresh", "older", "later", "wrong"
"""An answer that knows all events that were known before it was asked; one that knows fewer, the first of them; one
that knows later ones without the first; one that no events explain."""
_ANSWERED = (FRESH, OLDER, LATER, WRONG)


class Journal:
    """What was sent of each script, and what is known to be known, by everyone who shares a store."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self.scripts = scripts
        self.sent = [0] * len(scripts)
        self.known = [0] * len(scripts)
        """Events that an acknowledgement or an earlier answer was about."""
        self._lock = threading.Lock()

    def knows(self, place: int, count: int) -> None:
        """So many events of a script are known from now on."""
        with self._lock:
            self.known[place] = max(self.known[place], count)

    def judge(self, place: int, before: int, scores: np.ndarray) -> str:
        """What an answer is, to a question that was asked when `before` events were known."""
        counts = [one for one in self.scripts[place].counts(scores) if one <= self.sent[place]]
        if not counts:
            return WRONG
        # Where scores do not tell some counts apart, the lowest one that will do is what is known.
        fresh = [one for one in counts if one >= before]
        if fresh:
            self.knows(place, min(fresh))
            return FRESH
        return OLDER


class Askers:
    """Threads that ask about random users at a rate between them, until they are stopped."""

    def __init__(self, model: str, journals: Sequence[tuple[Journal, Sequence[str]]], rate: float, number: int) -> None:
        """`journals`: each with the servers that share its store, which are asked in turn; `number` threads in all,
        `rate` questions a second in all."""
        self._model, self._interval = model, number / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.outcomes: Counter[str] = Counter()
        self.latencies: list[float] = []
        """Milliseconds of the answers."""
        self.unexplained: list[tuple[int, np.ndarray, int]] = []
        """Place of the script, scores, and events that were sent, of answers that no number of events explains."""
        self.older_at: list[float] = []
        """Monotonic seconds of the answers that knew less than was known."""
        self._threads = [
            threading.Thread(target=self._ask, args=(*journals[one % len(journals)], random.Random(one)), daemon=True)  # noqa: S311 - no secret
            for one in range(number)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def report(self, play: Play) -> dict[str, Any]:
        """Counts by outcome; errors by class. Call it when nothing is asked any more."""
        later = sum(
            play.knows_a_later_part(play.scripts[place], scores, sent) for place, scores, sent in self.unexplained
        )
        counts = self.outcomes + Counter({LATER: later}) - Counter({WRONG: later})
        errors = {name: count for name, count in sorted(counts.items()) if name not in _ANSWERED}
        of_age = self.older_at
        return {
            "asked": counts.total(),
            **{name: counts[name] for name in _ANSWERED},
            "older_s": round(of_age[-1] - of_age[0], 2) if of_age else 0.0,
            "errors": errors,
            "p50_ms": round(float(np.percentile(self.latencies, 50)), 2) if self.latencies else None,
            "p99_ms": round(float(np.percentile(self.latencies, 99)), 2) if self.latencies else None,
        }

    def _ask(self, journal: Journal, urls: Sequence[str], choice: random.Random) -> None:
        with Client(*urls, deadline_s=30.0) as client:
            due = time.monotonic() + choice.random() * self._interval
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + self._interval, time.monotonic() - self._interval)
                self._one(client, journal, choice.randrange(len(journal.scripts)))

    def _one(self, client: Client, journal: Journal, place: int) -> None:
        before, begin = journal.known[place], time.perf_counter()
        scores, took = np.zeros(0), None
        try:
            scores = client.infer(self._model, dict(journal.scripts[place].request))["scores"].reshape(-1)
        except ServingError as error:
            outcome = type(error).__name__
        else:
            took = 1e3 * (time.perf_counter() - begin)
            outcome = journal.judge(place, before, scores)
        with self._lock:
            self.outcomes[outcome] += 1
            if took is not None:
                self.latencies.append(took)
            if outcome == OLDER:
                self.older_at.append(time.monotonic())
            if outcome == WRONG:
                self.unexplained.append((place, scores, journal.sent[place]))


@contextmanager
def asking(
    model: str, journals: Sequence[tuple[Journal, Sequence[str]]], *, rate: float, threads: int = 4
) -> Iterator[Askers]:
    """Asks inside."""
    askers = Askers(model, journals, rate, threads)
    with ExitStack() as stack:
        stack.callback(askers.stop)
        askers.start()
        yield askers


def played(
    journals: Sequence[Journal],
    send: Callable[[int, int], None],
    *,
    rate: float,
    first: int = 0,
    stop: threading.Event | None = None,
) -> int:
    """Sends the events of every script from the `first` on, a user's after the other's in turn, so many a second; how
    many there were.

    `send` takes the place of a script and that of its event.
    """
    scripts, sent, begin = journals[0].scripts, 0, time.monotonic()
    for event in range(first, max(len(script.rows) for script in scripts)):
        for place in range(len(scripts)):
            if stop is not None and stop.is_set():
                return sent
            time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
            for journal in journals:
                journal.sent[place] = max(journal.sent[place], event + 1)
            send(place, event)
            sent += 1
    return sent
