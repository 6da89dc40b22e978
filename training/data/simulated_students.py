"""Students who do not exist: they learn and forget concepts and answer questions, with known probabilities.

    p(right) = guess + (1 - guess) * sigmoid(mean over the question's concepts of ability - difficulty)
    after an answer on c:  ability(c) += learning * (1 if right else 0.6)
    between:               what was gained on c shrinks by exp(-forgetting) for each answer since c was last practised

A student has one of several modes, which differ in what they start with, how fast they learn and how fast they forget.
Our design; everything follows from the seed, and no person's data is in it. The probability of each answer stands
beside it (`Interactions.events`), mode and abilities of the students in `Interactions.truth`.

Axes: S students, C concepts, Q questions, E answers, T answers of the longest student, W concepts of a question.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from training.interactions import Interactions
from training.schema import PARTS, UNKNOWN, Field, Schema, part_field

_WRONG_TEACHES = 0.6
"""Share of what a right answer teaches that a wrong one does."""
_LEAST_ANSWERS = 3
_RUN = (5, 21)
"""Answers in a row on one concept, where the order is blocked."""
_TRAINED, _VALIDATED = PARTS.index("train"), PARTS.index("validation")
_TESTED = PARTS.index("test")
_REPLY = Field(name="reply", role="event", kind="id", uses=("value",), cardinality=3, values=(UNKNOWN, "0", "1"))
_VALIDATION_SHARE = 0.1
"""Of the students who do not test, where the split is given."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What is simulated; the defaults are large enough for a model to learn in seconds."""

    name: str = "planted-tracing"
    """Of the data set."""
    students: int = 400
    concepts: int = 5
    questions: int = 40
    both: float = 0.3
    """Share of the questions with two concepts."""
    guess: float = 0.1
    """Probability of a right answer of one who knows nothing."""
    learning: tuple[float, ...] = (0.05, 0.2)
    """Of each mode: what a right answer adds to the ability."""
    forgetting: tuple[float, ...] = (0.0, 0.02)
    """Of each mode: rate per answer given meanwhile."""
    profile: float = 0.8
    """Where a mode starts in its own block of concepts, and with a minus in the others."""
    start_spread: float = 0.7
    """Standard deviation of a student's start about that of his mode."""
    difficulty_spread: float = 1.0
    """Standard deviation of the questions' difficulties."""
    order: Literal["blocked", "interleaved", "same"] = "interleaved"
    """One concept many times in a row, any question at any time, or each question once in an order that all share."""
    answers: int = 40
    """Median for a student; of the order `same` all give one to each question."""
    length_spread: float = 0.8
    """Standard deviation of the logarithm of the number of answers."""
    most_answers: int = 120
    replies: bool = False
    """Whether events say the response as a value too, so that a live history knows it."""
    testing: int = 0
    """So many students, the last ones, test, and a tenth of the others validates; with 0 the split is the task's."""


class Students(NamedTuple):
    """Simulated students, and what only the simulation knows."""

    interactions: Interactions
    """Rows in the order student, then time."""
    probability: np.ndarray
    """float64 [E]: of a right answer, for each event."""
    mode: np.ndarray
    """int64 [S + 1]: of each student, -1 for student 0, who is nobody."""
    ability: np.ndarray
    """float64 [S + 1, C + 1]: of each concept as one more answer would find it."""


class _Asked(NamedTuple):
    """Who is asked what."""

    mode: np.ndarray
    """int64 [S]"""
    length: np.ndarray
    """int64 [S]"""
    question: np.ndarray
    """int64 [S, T]"""


def simulate(simulation: Simulation, seed: int = 0) -> Students:
    """The students of a seed."""
    random = np.random.default_rng(seed)
    concepts = _concepts(simulation, random)
    length = _lengths(simulation, random)
    question = _questions(simulation, concepts, int(length.max()), random)
    asked = _Asked(random.integers(len(simulation.learning), size=simulation.students), length, question)
    responses, probability, ability = _answers(simulation, concepts, asked, random)
    there = np.arange(question.shape[1]) < length[:, None]
    student, time = np.nonzero(there)
    events = pl.DataFrame(
        {
            "user": student + 1,
            "item": question[there],
            "time": time,
            "label": responses[there].astype(np.float32),
            "probability": probability[there],
            **({"value": responses[there] + 1} if simulation.replies else {}),
            **({"part": _parts(simulation)[student]} if simulation.testing else {}),
        }
    )
    mode, ability = np.append(-1, asked.mode), np.pad(ability, ((1, 0), (0, 0)))
    interactions = Interactions(
        schema=_schema(simulation),
        events=events,
        users=pl.DataFrame(height=simulation.students + 1),
        items=pl.DataFrame({"concepts": [row[row > 0].tolist() for row in concepts]}),
        licence="made here",
        truth={"ability": ability, "mode": mode},
    )
    return Students(interactions, probability[there], mode, ability)


def _lengths(simulation: Simulation, random: np.random.Generator) -> np.ndarray:
    """int64 [S]"""
    if simulation.order == "same":
        return np.full(simulation.students, simulation.questions)
    found = np.exp(random.normal(np.log(simulation.answers), simulation.length_spread, simulation.students))
    return found.astype(np.int64).clip(_LEAST_ANSWERS, simulation.most_answers)


def _parts(simulation: Simulation) -> np.ndarray:
    """int64 [S]: the part that all answers of a student are in."""
    others = simulation.students - simulation.testing
    found = np.full(simulation.students, _TRAINED)
    found[others:] = _TESTED
    found[others - round(_VALIDATION_SHARE * others) : others] = _VALIDATED
    return found


def _concepts(simulation: Simulation, random: np.random.Generator) -> np.ndarray:
    """int64 [Q + 1, 2]: concepts of each question, 0 where there is no second one; each concept has questions."""
    first = np.append(0, random.permutation(np.arange(simulation.questions) % simulation.concepts) + 1)
    second = (first - 1 + random.integers(1, simulation.concepts, len(first))) % simulation.concepts + 1
    second[random.random(len(first)) >= simulation.both] = 0
    second[0] = 0
    return np.stack((first, second), axis=1)


def _questions(simulation: Simulation, concepts: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
    """int64 [S, T]: the question of each answer."""
    shape = (simulation.students, steps)
    if simulation.order == "interleaved":
        return random.integers(1, simulation.questions + 1, shape)
    if simulation.order == "same":
        return np.broadcast_to(random.permutation(steps) + 1, shape)
    # By first concept, so that those of a concept are neighbours.
    members = np.argsort(concepts[1:, 0], kind="stable") + 1
    sizes = np.bincount(concepts[1:, 0] - 1, minlength=simulation.concepts)
    runs = random.integers(*_RUN, (simulation.students, steps // _RUN[0] + 1))
    topics = random.integers(simulation.concepts, size=runs.shape)
    of_answer = np.array([np.repeat(*one)[:steps] for one in zip(topics, runs, strict=True)])
    place = (random.random(shape) * sizes[of_answer]).astype(np.int64)
    return members[(np.cumsum(sizes) - sizes)[of_answer] + place]


def _answers(
    simulation: Simulation, concepts: np.ndarray, asked: _Asked, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses int64 and probabilities [S, T], and the abilities [S, C + 1] at the end of each student."""
    learning, forgetting = (np.array(rates)[asked.mode] for rates in (simulation.learning, simulation.forgetting))
    start = _starts(simulation, asked.mode, random)
    difficulty = random.normal(0, simulation.difficulty_spread, len(concepts))
    gained, last = np.zeros_like(start), np.zeros(start.shape, np.int64)
    draws = random.random(asked.question.shape)
    responses, probability = np.zeros(draws.shape, np.int64), np.zeros(draws.shape)
    for step, questions in enumerate(asked.question.T):
        rows = np.flatnonzero(asked.length > step)
        own = concepts[questions[rows]]
        there, at = own > 0, (rows[:, None], own)
        gained[at] *= np.exp(-forgetting[rows, None] * (step - last[at]))
        last[at] = step
        ability = np.where(there, start[at] + gained[at], 0).sum(axis=1) / there.sum(axis=1)
        known = 1 / (1 + np.exp(difficulty[questions[rows]] - ability))
        probability[rows, step] = simulation.guess + (1 - simulation.guess) * known
        responses[rows, step] = draws[rows, step] < probability[rows, step]
        taught = learning[rows] * np.where(responses[rows, step] > 0, 1.0, _WRONG_TEACHES)
        gained[at] += np.where(there, taught[:, None], 0)
    gained *= np.exp(-forgetting[:, None] * (asked.length[:, None] - last))
    return responses, probability, start + gained


def _starts(simulation: Simulation, mode: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """float64 [S, C + 1]: abilities before any answer; each mode starts well in its own block of concepts."""
    modes, num_concepts = len(simulation.learning), simulation.concepts + 1
    own = np.arange(num_concepts) % modes == np.arange(modes)[:, None]
    profile = np.where(own, simulation.profile, -simulation.profile)
    return profile[mode] + random.normal(0, simulation.start_spread, (len(mode), num_concepts))


def _schema(simulation: Simulation) -> Schema:
    return Schema(
        dataset=simulation.name,
        fields=(
            Field(name="user", role="user", kind="id", uses=("key",), cardinality=simulation.students + 1),
            Field(name="item", role="item", kind="id", uses=("key",), cardinality=simulation.questions + 1),
            Field(
                name="concepts",
                role="item",
                kind="multi",
                uses=("concept",),
                cardinality=simulation.concepts + 1,
                width=2,
            ),
            Field(name="time", role="event", kind="dense", uses=("time",)),
            Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
            *((_REPLY,) if simulation.replies else ()),
            *((part_field(),) if simulation.testing else ()),
        ),
    )
