"""Students who do not exist: they learn and forget concepts and answer questions, with known probabilities.

    p(right) = guess + (1 - guess) * sigmoid(mean over the question's concepts of ability - difficulty)
    after an answer on c:  ability(c) += learning * (1 if right else 0.6)
    between:               what was gained on c shrinks by exp(-forgetting) for each answer since c was last practised

A student has one of several modes, which differ in what they start with, how fast they learn and how fast they forget.
Our design; everything follows from the seed, and no person's data is in it.

Axes: S students, C concepts, Q questions, E answers, W concepts of a question.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from training.interactions import Dataset, Interactions
from training.schema import Field, Schema

_WRONG_TEACHES = 0.6
"""Share of what a right answer teaches that a wrong one does."""
_START_SPREAD = 0.7
"""Standard deviation of a student's start about that of his mode."""
_LENGTH_SPREAD = 0.8
"""Of the logarithm of the number of answers."""
_LEAST_ANSWERS = 3
_RUN = (5, 21)
"""Answers in a row on one concept, where the order is blocked."""


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
    order: Literal["blocked", "interleaved"] = "interleaved"
    """One concept many times in a row, or any question at any time."""
    answers: int = 40
    """Median for a student."""
    most_answers: int = 120


class Students(NamedTuple):
    """Simulated students, and what only the simulation knows."""

    interactions: Interactions
    """Rows in the order student, then time."""
    probability: np.ndarray
    """float64 [E]: of a right answer, for each event."""
    mode: np.ndarray
    """int64 [S + 1]: of each student, -1 for student 0, who is nobody."""
    ability: np.ndarray
    """float64 [S + 1, C + 1]: of each concept after the last answer."""


def simulate(simulation: Simulation, seed: int = 0) -> Students:
    """The students of a seed."""
    random = np.random.default_rng(seed)
    concepts = _concepts(simulation, random)
    lengths = np.exp(random.normal(np.log(simulation.answers), _LENGTH_SPREAD, simulation.students))
    lengths = lengths.astype(np.int64).clip(_LEAST_ANSWERS, simulation.most_answers)
    questions = _questions(simulation, concepts, int(lengths.max()), random)
    mode = random.integers(len(simulation.learning), size=simulation.students)
    responses, probability, ability = _answers(simulation, concepts, questions, mode, random)
    there = np.arange(questions.shape[1]) < lengths[:, None]
    student, time = np.nonzero(there)
    events = {"user": student + 1, "item": questions[there], "time": time, "label": responses[there]}
    interactions = Interactions(
        schema=_schema(simulation),
        events=pl.DataFrame(events).with_columns(pl.col("label").cast(pl.Float32)),
        users=pl.DataFrame(height=simulation.students + 1),
        items=pl.DataFrame({"concepts": [row[row > 0].tolist() for row in concepts]}),
        licence="made here",
    )
    return Students(interactions, probability[there], np.append(-1, mode), np.pad(ability, ((1, 0), (0, 0))))


def _concepts(simulation: Simulation, random: np.random.Generator) -> np.ndarray:
    """int64 [Q + 1, 2]: concepts of each question, 0 where there is no second one; each concept has questions."""
    first = np.append(0, random.permutation(np.arange(simulation.questions) % simulation.concepts) + 1)
    second = (first - 1 + random.integers(1, simulation.concepts, len(first))) % simulation.concepts + 1
    second[random.random(len(first)) >= simulation.both] = 0
    second[0] = 0
    return np.stack((first, second), axis=1)


def _questions(simulation: Simulation, concepts: np.ndarray, steps: int, random: np.random.Generator) -> np.ndarray:
    """int64 [S, steps]: the question of each answer."""
    shape = (simulation.students, steps)
    if simulation.order == "interleaved":
        return random.integers(1, simulation.questions + 1, shape)
    members = [np.flatnonzero(concepts[:, 0] == concept + 1) for concept in range(simulation.concepts)]
    rows = []
    for _ in range(simulation.students):
        runs = random.integers(*_RUN, steps // _RUN[0] + 1)
        topics = np.repeat(random.integers(simulation.concepts, size=len(runs)), runs)[:steps]
        rows.append([random.choice(members[topic]) for topic in topics])
    return np.array(rows, np.int64)


def _answers(
    simulation: Simulation,
    concepts: np.ndarray,
    questions: np.ndarray,
    mode: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses int64 and probabilities [S, steps], and the abilities [S, C + 1] at the end."""
    learning, forgetting = np.array(simulation.learning)[mode], np.array(simulation.forgetting)[mode]
    modes, num_concepts = len(simulation.learning), simulation.concepts + 1
    # Each mode starts well in its own block of concepts.
    profile = np.where(np.arange(num_concepts) % modes == np.arange(modes)[:, None], 0.8, -0.8)
    start = profile[mode] + random.normal(0, _START_SPREAD, (len(mode), num_concepts))
    difficulty = random.normal(size=len(concepts))
    gained, last = np.zeros_like(start), np.zeros(start.shape, np.int64)
    draws = random.random(questions.shape)
    responses, probability = np.zeros_like(questions), np.zeros(questions.shape)
    rows = np.arange(len(mode))[:, None]
    for step, asked in enumerate(questions.T):
        own = concepts[asked]
        there = own > 0
        gained[rows, own] *= np.exp(-forgetting[:, None] * (step - last[rows, own]))
        last[rows, own] = step
        ability = np.where(there, start[rows, own] + gained[rows, own], 0).sum(axis=1) / there.sum(axis=1)
        known = 1 / (1 + np.exp(difficulty[asked] - ability))
        probability[:, step] = simulation.guess + (1 - simulation.guess) * known
        responses[:, step] = draws[:, step] < probability[:, step]
        taught = learning * np.where(responses[:, step] > 0, 1.0, _WRONG_TEACHES)
        gained[rows, own] += np.where(there, taught[:, None], 0)
    return responses, probability, start + gained


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
        ),
    )


SIMULATED = Simulation(
    name="simulated-students",
    students=2_000,
    concepts=30,
    questions=600,
    guess=0.2,
    learning=(0.05, 0.1, 0.15, 0.2),
    forgetting=(0.0, 0.005, 0.01, 0.02),
    answers=60,
    most_answers=2_000,
)
"""A set for figures of which every one says that nobody real is in it."""

DATASET = Dataset(
    name=SIMULATED.name,
    what="answers of students who do not exist, with learning and forgetting; nothing is fetched",
    licence="made here",
    read=lambda _cache, _report: simulate(SIMULATED).interactions,
)
