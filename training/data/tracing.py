"""Knowledge tracing: whether a student will answer right, from his answers before; one row for each answer.

A question with several concepts stays one row: one row per concept would show a model the answer that it is asked for.

How answers are split is `training.data.tracing_parts`: some students are new, of the others the last answers test. Of
an answer that is measured all earlier ones of the same student are known, as they are when it is given.

Axes: E answers, S students, Q questions, C concepts, B samples of a batch, T answers of a sample, W concepts of a
question.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array
from torch import Tensor

from training.data.tracing_parts import TEST, TRAIN, VALIDATION, parts_of
from training.interactions import Interactions, by_user
from training.needs import CONCEPTS, ITEMS, LABEL, MOMENT, USERS, Need, require
from training.schema import Schema, size_of, width_of
from training.system import Wanted

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
    """Answers of students, [B, T] over the longest sample's length, or more."""

    student: Int64[Tensor, " B"]
    """0 where the student is new: of whom no answer trains a model may know nothing but the answers."""
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
    """All answers sorted by (student, time or order, original row), [E] each."""

    student: np.ndarray
    question: np.ndarray
    response: np.ndarray
    row: np.ndarray
    """In `Interactions.events`."""
    part: np.ndarray
    """As `parts_of`."""
    probability: np.ndarray | None
    """Of a right answer, where a simulation knows it."""
    ability: np.ndarray | None
    """float64 [S + 1, C + 1], where a simulation knows it: of each concept after a student's last answer, NaN of those
    that he was never asked about."""
    mode: np.ndarray | None
    """int64 [S + 1], where a simulation knows it."""


class TracingSplit:
    """Students' answers. Implements `training.system.Split`."""

    def __init__(self, answers: _Answers, part: int, borders: np.ndarray, students: np.ndarray) -> None:
        """Sample r is the answers `borders[r, 0]` to `borders[r, 1]` of one student, of which those of the part count.
        `students` int64 [S + 1] is what a model may know each one as, 0 for nobody."""
        self._answers, self._part = answers, part
        self._start, self._end = borders.T
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
        start, end = self._start[rows, None], self._end[rows, None]
        places = start + np.arange(int((end - start).max()))
        inside, bounded = places < end, np.minimum(places, len(self._answers.student) - 1)
        columns = (
            self._student[rows],
            np.where(inside, self._answers.question[bounded], 0),
            np.where(inside, self._answers.response[bounded], 0),
            (end - start)[:, 0],
            (inside & (self._answers.part[bounded] == self._part)).astype(np.float32),
        )
        return TracingBatch(*map(torch.from_numpy, columns))

    def measured(self) -> "Measured":
        """The answers that count, sample by sample."""
        sizes = self._end - self._start
        sample = np.repeat(np.arange(len(self)), sizes)
        step = np.arange(len(sample)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        place = self._start[sample] + step
        counts = self._answers.part[place] == self._part
        sample, step, place = sample[counts], step[counts], place[counts]
        return Measured(
            sample=sample,
            step=step,
            question=self._answers.question[place],
            label=self._answers.response[place].astype(np.float32),
            is_new=self._student[sample] == 0,
            row=self._answers.row[place],
            probability=None if self._answers.probability is None else self._answers.probability[place],
        )

    def abilities(self) -> "Abilities | None":
        """Of the students whose samples go to their last answer; None where no simulation knows them."""
        if self._answers.ability is None:
            return None
        students = self._answers.student
        own = students[self._start]
        final = np.flatnonzero(np.searchsorted(students, own, side="right") == self._end)
        return Abilities(sample=final, ability=self._answers.ability[own[final], 1:])

    def modes(self) -> np.ndarray | None:
        """int64 [len]: the mode of each sample's student; None where no simulation knows it."""
        mode = self._answers.mode
        return None if mode is None else mode[self._answers.student[self._start]]


class Measured(NamedTuple):
    """Answers that count, [M] each."""

    sample: np.ndarray
    step: np.ndarray
    """Place in the sample: answers of the student before it."""
    question: np.ndarray
    """int64"""
    label: np.ndarray
    """float32, 1 right, 0 wrong."""
    is_new: np.ndarray
    """Whether none of the student's answers trained."""
    row: np.ndarray
    """In `Interactions.events`."""
    probability: np.ndarray | None
    """float64: of a right answer, where a simulation knows it."""


class Abilities(NamedTuple):
    """Of students after their last answers."""

    sample: np.ndarray
    """int64 [N]"""
    ability: np.ndarray
    """float64 [N, C], NaN of concepts that were never asked for."""


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

    @cached_property
    def q_matrix(self) -> csr_array:
        """float32 [Q + 1, C + 1], sparse: 1 where a question asks for a concept; row 0 and column 0 are empty."""
        question, place = np.nonzero(self.concepts)
        ones = np.ones(len(question), np.float32)
        size = size_of(self.schema.only("concept", "item"))
        return csr_array((ones, (question, self.concepts[question, place])), shape=(len(self.concepts), size))


def tracing_view(interactions: Interactions, wanted: Wanted) -> TracingData:
    """The data set split as `training.data.tracing_parts` says; training samples are cut after `wanted.max_length`
    answers, each piece a start from nothing, while measured answers always have all before them.

    Raises ValueError naming what of `NEEDS` is missing, and for `max_length` < 1.
    """
    if wanted.max_length < 1:
        raise ValueError(f"max_length is {wanted.max_length}; it must be at least 1")
    require(interactions, "tracing", NEEDS)
    concepts = concepts_of(interactions)
    answers = _answers(interactions, concepts, wanted.split)
    trained = np.unique(answers.student[answers.part == TRAIN])
    students = np.zeros(size_of(interactions.schema.key("user")), np.int64)
    students[trained] = trained

    def split(part: int, longest: int | None = None) -> TracingSplit:
        borders = _borders(answers, part)
        if longest is not None:
            borders = _pieces(borders[:, 0], borders[:, 1], longest)
            # A piece without an answer that counts teaches nothing.
            before = np.concatenate(([0], np.cumsum(answers.part == part)))
            borders = borders[before[borders[:, 1]] > before[borders[:, 0]]]
        return TracingSplit(answers, part, borders, students)

    return TracingData(
        schema=interactions.schema,
        interactions=interactions,
        train=split(TRAIN, wanted.max_length),
        validation=split(VALIDATION),
        test=split(TEST),
        concepts=concepts,
        students=students,
    )


def _borders(answers: _Answers, part: int) -> np.ndarray:
    """int64 [students, 2]: from the first answer of each student who has answers in the part to his last one there."""
    places = np.flatnonzero(answers.part == part)
    students, first = np.unique(answers.student[places][::-1], return_index=True)
    ends = places[len(places) - 1 - first] + 1
    return np.stack((np.searchsorted(answers.student, students), ends), axis=1)


def _pieces(starts: np.ndarray, ends: np.ndarray, longest: int) -> np.ndarray:
    """int64 [pieces, 2]: borders of at most `longest` answers."""
    counts = -(-(ends - starts) // longest)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(starts, counts) + number * longest
    return np.stack((first, np.minimum(first + longest, np.repeat(ends, counts))), axis=1)


def _answers(interactions: Interactions, concepts: np.ndarray, split: str) -> _Answers:
    rows = interactions.events
    order = by_user(rows)
    student, question = (rows[name].to_numpy().astype(np.int64)[order] for name in ("user", "item"))
    given, probability = (
        rows[name].to_numpy()[order] if name in rows.columns else None for name in ("part", "probability")
    )
    return _Answers(
        student=student,
        question=question,
        response=(rows["label"].to_numpy() > 0).astype(np.int64)[order],
        row=order,
        part=parts_of(student, given, split),
        probability=probability,
        ability=_met(interactions.truth["ability"], student, concepts[question]) if interactions.truth else None,
        mode=interactions.truth.get("mode"),
    )


def _met(ability: np.ndarray, student: np.ndarray, concepts: np.ndarray) -> np.ndarray:
    """Abilities [S + 1, C + 1], NaN of what answers [E, W] of students [E] did not ask for."""
    met = np.zeros(ability.shape, bool)
    met[student[:, None], concepts] = True
    return np.where(met, ability, np.nan)


def concepts_of(interactions: Interactions) -> np.ndarray:
    """int64 [Q + 1, W] by question, 0 = none."""
    field = interactions.schema.only("concept", "item")
    lists = interactions.items[field.name].to_list()
    table = np.zeros((len(lists), width_of(field)), np.int64)
    for question, row in enumerate(lists):
        table[question, : len(row or ())] = row or ()
    return table
