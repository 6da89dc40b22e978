"""How a served model's mastery went from answer to answer of a student (our design).

It is the model's own word for each prefix of the answers, asked one after the other; nothing is computed here.

Axes: K prefixes, T answers.
"""

import numpy as np

from training.asking import Course, Infer, Line, Tensors
from training.interactions import Interactions
from training.tasks.tracing_asked import Answers, answers_of, by_sequence, carried, concept_names, met, most_met

PREFIXES = 60
"""Requests at most; the last one has all answers."""
CONCEPTS = 12
"""At most; those with most answers."""


def course(infer: Infer, model: str, interactions: Interactions, request: Tensors) -> Course:
    """Mastery of the concepts that the student answered most, before any answer and then after evenly many. Where the
    server has the answers, those of the data set are sent to the release's other model.

    Raises ValueError for a student without answers, and ModelUnavailable where that model is not served.
    """
    answers = answers_of(interactions, request)
    raw = request["user_id"].reshape(-1).tolist()[0]
    if not len(answers.question):
        raise ValueError(f"--picture: student {raw} has no answers in {interactions.name}, so nothing to draw")
    model, request = by_sequence(interactions, model, request)
    steps = prefixes(len(answers.question))
    said = []
    for step in steps.tolist():
        before = Answers(answers.question[:step], answers.right[:step])
        asked = {**request, **carried(interactions, before), "questions": request["questions"][:, :1]}
        said.append(infer(model, asked)["mastery"][0])
    mastery, places, names = np.stack(said), met(interactions, answers), concept_names(interactions)
    drawn = [number for number in most_met(places)[:CONCEPTS] if places[number]]
    lines = (_line(names[number], mastery[:, number], places[number], answers) for number in drawn)
    title = f"mastery by concept, as {model} says of a student of {interactions.name}"
    return Course(title, "answers of the student", steps, ("right", "wrong"), tuple(lines))


def prefixes(count: int) -> np.ndarray:
    """int64 [K]: numbers of answers, ascending from 0 to all of them, evenly far apart."""
    return np.unique(np.linspace(0, count, min(count + 1, PREFIXES)).round().astype(np.int64))


def _line(name: str, values: np.ndarray, places: list[int], answers: Answers) -> Line:
    number = np.array(places, np.int64)
    return Line(name, values, number[answers.right[number]] + 1, number[~answers.right[number]] + 1)
