"""Which answers of students train, validate and test.

- Where the data set gives parts, those.
- `chronological`: some students are new, a tenth of all, whose answers validate, and another tenth, whose answers
  test. Of the others, in order of time, the last fifth of the answers tests, the tenth before validates, the rest
  trains. So both are measured: later answers of students who are known, and all answers of those who are not.
- `random`: of each student a fifth of the answers, drawn at random, tests, a tenth validates, the rest trains. This
  leaks: a model learns from answers that were given after those that it is measured on. It is here because figures
  have been published by it, to be read beside those of the other split and never alone.

Axes: E answers.
"""

from typing import Literal, get_args

import numpy as np

from training.schema import PARTS

SplitName = Literal["chronological", "random"]
TRAIN, VALIDATION, TEST = (PARTS.index(name) for name in ("train", "validation", "test"))
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Of the answers of a student who is known."""
NEW_SHARE = 0.1
"""Of the students: for the validation, and as many for the test."""


def parts_of(student: np.ndarray, given: np.ndarray | None, split: str) -> np.ndarray:
    """int64 [E]: the part of each answer, an id of `PARTS`; of answers sorted by (student, time), by their student
    int64 [E] and the part that the data set gives them, if it does.

    Raises ValueError for a split that there is not, where the random one is asked for beside given parts, and where a
    part has no answers.
    """
    if split and split not in get_args(SplitName):
        raise ValueError(f"no split is called '{split}'; there are: {', '.join(get_args(SplitName))}")
    if given is not None and split == "random":
        raise ValueError("the data set gives the parts of its answers itself: no random split can be drawn of them")
    part = given if given is not None else (_random if split == "random" else _chronological)(student)
    if lacking := [PARTS[one] for one in (TRAIN, VALIDATION, TEST) if not (part == one).any()]:
        remedy = "it needs more students, or more answers of each" if given is None else "give it some"
        raise ValueError(f"no answer is in the part {' or '.join(lacking)}: {remedy}")
    return part.astype(np.int64)


def _chronological(student: np.ndarray) -> np.ndarray:
    starts, sizes = _runs(student)
    order = np.random.default_rng(0).permutation(len(starts))
    num_new = max(1, round(NEW_SHARE * len(starts)))
    new_validation, new_test, _ = np.split(order, [num_new, 2 * num_new])
    part = _by_place(np.arange(len(student)) - np.repeat(starts, sizes), sizes)
    of_answer = np.repeat(np.arange(len(starts)), sizes)
    part[np.isin(of_answer, new_validation)] = VALIDATION
    part[np.isin(of_answer, new_test)] = TEST
    return part


def _random(student: np.ndarray) -> np.ndarray:
    starts, sizes = _runs(student)
    drawn = np.lexsort((np.random.default_rng(0).random(len(student)), student))
    place = np.empty(len(student), np.int64)
    place[drawn] = np.arange(len(student)) - np.repeat(starts, sizes)
    return _by_place(place, sizes)


def _runs(student: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each student's answers start, and how many they are."""
    starts = np.unique(student, return_index=True)[1]
    return starts, np.diff(np.append(starts, len(student)))


def _by_place(place: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int64 [E]: training first, then validation, then test, by the place of an answer among its student's."""
    size = np.repeat(sizes, sizes)
    held, tested = (_whole(share * size) for share in (TEST_SHARE + VALIDATION_SHARE, TEST_SHARE))
    return np.where(place < size - held, TRAIN, np.where(place < size - tested, VALIDATION, TEST))


def _whole(numbers: np.ndarray) -> np.ndarray:
    """Rounded down, but not for a digit that only floats have."""
    return np.floor(np.round(numbers, 6)).astype(np.int64)
