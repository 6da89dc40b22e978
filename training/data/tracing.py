"""Knowledge tracing: whether a student will answer right, from his answers before; one row for each answer.

A question with several concepts stays one row: one row per concept would show a model the answer that it is asked for.

Some students are new: a tenth of all, whose answers validate, and another tenth, whose answers test. Of the others,
in order of time, the last fifth of the answers tests, the tenth before validates, the rest trains. So both are
measured: later answers of students who are known, and all answers of those who are not. Of a held-out answer all
earlier ones of the same student are known, as they are when it is given.

Axes: E answers, S students, Q questions, B samples of a batch, T answers of a sample, W concepts of a question.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.interactions import Interactions, by_user
from training.needs import CONCEPTS, ITEMS, LABEL, MOMENT, USERS, Need, require
from training.schema import Schema, size_of, width_of
from training.system import Wanted

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Of the answers of a student who is known."""
NEW_SHARE = 0.1
"""Of the students: for the validation, and as many for the test."""
_LEAST_STUDENTS = 10

NEEDS = (
    USERS,
    ITEMS,
    LABEL,
    CONCEPTS,
    MOMENT,
    Need(
        f"{_LEAST_STUDENTS} students",
        lambda data: data.events["user"].n_unique() >= _LEAST_STUDENTS,
        "more of them: a tenth each is kept from training",
    ),
)


class TracingBatch(NamedTuple):
    """Students' answers in order."""

    student: Int64[Tensor, " B"]
    """0 for one of whom no answer trained."""
    questions: Int64[Tensor, "B T"]
    """Oldest first, 0 beyond the length; what is predicted at place t may depend on the places before it and on the
    question at t, and on nothing else."""
    responses: Int64[Tensor, "B T"]
    """1 right, 0 wrong and beyond the length."""
    length: Int64[Tensor, " B"]
    """At least 1."""
    counts: Float32[Tensor, "B T"]
    """1 where the answer is to be learnt or measured."""


class _Answers(NamedTuple):
    """All answers sorted by (student, time or order, original row), int64 [E] each."""

    student: np.ndarray
    question: np.ndarray
    response: np.ndarray
    row: np.ndarray
    """In `Interactions.events`."""


class TracingSplit:
    """Students' answers. Implements `training.system.Split`."""

    def __init__(self, answers: _Answers, borders: np.ndarray, students: np.ndarray) -> None:
        """Sample r is the answers `borders[r, 0]` to `borders[r, 2]` of one student; from `borders[r, 1]` on they
        count. `students` int64 [S + 1] is what a model may know each one as, 0 for nobody."""
        self._answers, self._start, self._first, self._end = answers, *borders.T
        self._student = students[answers.student[self._start]]

    def __len__(self) -> int:
        return len(self._start)

    @property
    def longest(self) -> int:
        """Most answers of a sample."""
        return int((self._end - self._start).max())

    def cost(self) -> np.ndarray:
        """int64 [len]: the number of answers."""
        return self._end - self._start

    def batch(self, rows: np.ndarray) -> TracingBatch:
        """The samples with these numbers, in this order; at least one."""
        start, end, first = self._start[rows, None], self._end[rows, None], self._first[rows, None]
        places = start + np.arange(int((end - start).max()))
        inside, bounded = places < end, np.minimum(places, len(self._answers.student) - 1)
        columns = (
            self._student[rows],
            np.where(inside, self._answers.question[bounded], 0),
            np.where(inside, self._answers.response[bounded], 0),
            (end - start)[:, 0],
            (inside & (places >= first)).astype(np.float32),
        )
        return TracingBatch(*map(torch.from_numpy, columns))

    def measured(self) -> "Measured":
        """The answers that count, sample by sample."""
        sizes = self._end - self._first
        sample = np.repeat(np.arange(len(self)), sizes)
        place = np.arange(len(sample)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + self._first[sample]
        return Measured(
            sample=sample,
            step=place - self._start[sample],
            label=self._answers.response[place].astype(np.float32),
            is_new=self._student[sample] == 0,
            row=self._answers.row[place],
        )


class Measured(NamedTuple):
    """Answers that count, [M] each."""

    sample: np.ndarray
    step: np.ndarray
    """Place in the sample: answers of the student before it."""
    label: np.ndarray
    """float32, 1 right, 0 wrong."""
    is_new: np.ndarray
    """Whether none of the student's answers trained."""
    row: np.ndarray
    """In `Interactions.events`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TracingData:
    """Students' answers, split. Implements `training.system.Data`."""

    schema: Schema
    interactions: Interactions
    train: TracingSplit
    validation: TracingSplit
    test: TracingSplit
    concepts: np.ndarray
    """int64 [Q + 1, W] by question, 0 = none."""
    students: np.ndarray
    """int64 [S + 1]: what a model may know each student as: the dense id, or 0 where no answer trained."""


def tracing_view(interactions: Interactions, wanted: Wanted) -> TracingData:
    """The split that the module's docstring describes; training samples are cut after `wanted.max_length` answers, each
    piece a start from nothing, while held-out answers always have all before them.

    Raises ValueError naming what of `NEEDS` is missing, and for `max_length` < 1.
    """
    if wanted.max_length < 1:
        raise ValueError(f"max_length is {wanted.max_length}; it must be at least 1")
    require(interactions, "tracing", NEEDS)
    answers = _answers(interactions)
    starts, sizes = np.unique(np.searchsorted(answers.student, answers.student), return_counts=True)
    order = np.random.default_rng(0).permutation(len(starts))
    num_new = max(1, round(NEW_SHARE * len(starts)))
    new_validation, new_test, known = np.split(order, [num_new, 2 * num_new])
    known.sort()
    students = np.zeros(size_of(interactions.schema.key("user")), np.int64)
    students[answers.student[starts[known]]] = answers.student[starts[known]]
    ends = starts + sizes
    validated = starts + np.ceil((1 - TEST_SHARE - VALIDATION_SHARE) * sizes).astype(int)
    tested = starts + np.ceil((1 - TEST_SHARE) * sizes).astype(int)

    def held_out(first: np.ndarray, end: np.ndarray, new: np.ndarray) -> TracingSplit:
        later = np.stack((starts, first, end), axis=1)[known]
        whole = np.stack((starts, starts, ends), axis=1)[np.sort(new)]
        borders = np.concatenate((later[later[:, 2] > later[:, 1]], whole))
        return TracingSplit(answers, borders, students)

    return TracingData(
        schema=interactions.schema,
        interactions=interactions,
        train=TracingSplit(answers, _pieces(starts[known], validated[known], wanted.max_length), students),
        validation=held_out(validated, tested, new_validation),
        test=held_out(tested, ends, new_test),
        concepts=_concepts(interactions),
        students=students,
    )


def _pieces(starts: np.ndarray, ends: np.ndarray, longest: int) -> np.ndarray:
    """int64 [pieces, 3]: borders of at most `longest` answers, all of which count."""
    counts = -(-(ends - starts) // longest)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(starts, counts) + number * longest
    return np.stack((first, first, np.minimum(first + longest, np.repeat(ends, counts))), axis=1)


def _answers(interactions: Interactions) -> _Answers:
    rows = interactions.events
    student, question = (rows[name].to_numpy().astype(np.int64) for name in ("user", "item"))
    order = by_user(rows)
    response = (rows["label"].to_numpy() > 0).astype(np.int64)
    return _Answers(student[order], question[order], response[order], order)


def _concepts(interactions: Interactions) -> np.ndarray:
    """int64 [Q + 1, W]"""
    field = interactions.schema.only("concept", "item")
    lists = interactions.items[field.name].to_list()
    table = np.zeros((len(lists), width_of(field)), np.int64)
    for question, row in enumerate(lists):
        table[question, : len(row or ())] = row or ()
    return table
