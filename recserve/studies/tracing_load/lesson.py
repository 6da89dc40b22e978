"""Many students who answer at once: each answer is reported, then the model is asked, by either way.

`kept`: the server has the answers and the state; a cycle is one report and one question. `sequence`: the client sends
all answers with each question, and reports nothing.

Axes: S students, N answers of each before the lesson, K cycles of each.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from export.histories import raw_values
from recserve_client import Client, Event
from serving.histories.histories import Histories
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose
from training.interactions import Interactions
from training.tasks.tracing_kept_served import OF_USER, right_values
from training.tasks.tracing_served import MAX_ANSWERS

_STRANGERS = 10**15
"""Ids from here on are of students whom no data set has."""
REPORTED, KEPT, SEQUENCE = "reported", "kept", "sequence"
WAYS = (REPORTED, KEPT, SEQUENCE)
_DEADLINE_S = 30.0

Row = dict[str, Any]
"""Of a result."""


class Plan(NamedTuple):
    """How much is asked."""

    students: int
    """S, each in a thread of its own."""
    cycles: int
    """K"""
    questions: int
    """Of each request."""
    seed: int


class Student:
    """One of whom only this lesson knows."""

    def __init__(self, interactions: Interactions, number: int, count: int, plan: Plan) -> None:
        """N = `count` answers, drawn from those of the data set, and K to come; a tick apart, from the data set's first
        time on, as no server takes what lies in the future."""
        random = np.random.default_rng((plan.seed, count, number))
        events = interactions.events
        rows = random.integers(0, len(events), count + plan.cycles)
        right = right_values(interactions)
        assert right is not None
        value = events["value"].to_numpy()[rows]
        (field,) = interactions.schema.of("value", "event")
        name = f"lesson {count} {number}"
        self.user = name if interactions.has_text_ids("user") else _STRANGERS + 10_000 * count + number
        self.items = interactions.raws("item", events["item"].to_numpy()[rows])
        self.right = right[value].astype(np.int64)
        self.values = raw_values(field)[value]
        asked = random.choice(np.arange(1, len(interactions.items)), plan.questions, replace=False)
        self.questions = interactions.raws("item", asked)
        self.count = count
        self._start = int(events["time"].to_numpy().min())
        self._dtype = object if interactions.has_text_ids("item") else np.int64

    def before(self) -> Events:
        """The N answers, as a store has them."""
        own, numbers = slice(self.count), np.arange(self.count)
        ids = np.fromiter((id_of(f"answer {one}") for one in numbers), np.uint64, self.count)
        items = np.array(self.items[own], self._dtype)
        return Events(items, self.values[own], self._start + numbers, np.zeros(self.count, np.int64), ids)

    def answer(self, client: Client, dataset: str, cycle: int) -> None:
        """Reports an answer. Raises ValueError where it is not taken as a new one."""
        place = self.count + cycle
        event = Event(self.items[place], self.values[place], self._start + place, event_id=f"answer {place}")
        if client.observe(self.user, [event], dataset=dataset).applied != 1:
            raise ValueError(f"answer {place} of student {self.user} was not taken")

    def ask(self, client: Client, model: str, cycle: int | None) -> np.ndarray:
        """float32 [questions]: probabilities after K = `cycle` + 1 answers of the lesson, which are sent; of None the
        server has them."""
        inputs: dict[str, Any] = {"user_id": [[self.user]]}
        if cycle is None:
            inputs["candidates"] = [self.questions]
            return client.infer(model, inputs)["probabilities"][0]
        end = self.count + cycle + 1
        sent = slice(max(0, end - MAX_ANSWERS), end)
        inputs |= {"questions": [self.questions], "history": [self.items[sent]], "responses": [self.right[sent]]}
        return client.infer(model, inputs)["probabilities"][0]


def lesson(url: str, model: str, interactions: Interactions, histories: Histories, count: int, plan: Plan) -> Row:
    """Milliseconds of a report, of a question to the kept state, and of one with the whole sequence, of students with
    so many answers; and the worst difference of the two answers.

    All students answer at once, first by one way, then the same answers by the other.
    """
    students = [Student(interactions, number, count, plan) for number in range(plan.students)]
    histories.append({Whose(interactions.name, one.user): one.before() for one in students})
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(url, deadline_s=_DEADLINE_S, retries=0)) for _ in students]
        for student, client in zip(students, clients, strict=True):
            # The first question finds no state: it is that of a student who comes back, and no part of the lesson.
            student.ask(client, f"{model}{OF_USER}", None)
            student.ask(client, model, 0)
        pool = stack.enter_context(ThreadPoolExecutor(plan.students))
        by_student = partial(_kept, model=model, dataset=interactions.name, cycles=plan.cycles)
        kept = [*pool.map(by_student, students, clients)]
        sent = [*pool.map(partial(_sent, model=model, cycles=plan.cycles), students, clients)]
    gap = max(float(np.abs(one.said - two.said).max()) for one, two in zip(kept, sent, strict=True))
    taken = {name: [ms for one in (*kept, *sent) for ms in one.taken.get(name, ())] for name in WAYS}
    return {"answers": count, **{name: _percentiles(each) for name, each in taken.items()}, "gap": gap}


class _Taken(NamedTuple):
    """Of one student."""

    taken: dict[str, list[float]]
    """Milliseconds of each call."""
    said: np.ndarray
    """What the last question was answered."""


def _kept(student: Student, client: Client, model: str, dataset: str, cycles: int) -> _Taken:
    reported, asked, said = [], [], np.zeros(0)
    for cycle in range(cycles):
        start = time.perf_counter()
        student.answer(client, dataset, cycle)
        between = time.perf_counter()
        said = student.ask(client, f"{model}{OF_USER}", None)
        reported.append(1e3 * (between - start))
        asked.append(1e3 * (time.perf_counter() - between))
    return _Taken({REPORTED: reported, KEPT: asked}, said)


def _sent(student: Student, client: Client, model: str, cycles: int) -> _Taken:
    asked, said = [], np.zeros(0)
    for cycle in range(cycles):
        start = time.perf_counter()
        said = student.ask(client, model, cycle)
        asked.append(1e3 * (time.perf_counter() - start))
    return _Taken({SEQUENCE: asked}, said)


def _percentiles(taken: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(taken, (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}
