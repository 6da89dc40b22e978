"""What a person asks a served tracing model about a student, and its answer as tables.

The same request fits `<name>`, which is sent the answers, and `<name>_of_user`, whose server has them; each takes of it
what it reads. What a table says of answers is what the data set has of them: a server may know later ones.

Axes: T answers, K of them that one request carries, Q questions, C concepts.
"""

from typing import NamedTuple

import numpy as np

from training.asking import Question, Shown, Tensors, as_ids, ordered
from training.data.tracing import concepts_of
from training.interactions import Interactions, RawId, of_user
from training.schema import size_of
from training.tasks.tracing_kept_served import OF_USER
from training.tasks.tracing_served import MAX_ANSWERS, MAX_QUESTIONS

_MASTERY, _PROBABILITY, _ITEM, _TITLE = "mastery", "probability", "item", "title"


class Answers(NamedTuple):
    """What the data set has of a student, oldest first."""

    question: np.ndarray
    """int64 [T], dense ids."""
    right: np.ndarray
    """bool [T]"""


def answers_of(interactions: Interactions, request: Tensors) -> Answers:
    """Of the student of a request; none of one who is unknown."""
    raw = request["user_id"].reshape(-1).tolist()[0]
    own = of_user(interactions.events, interactions.dense("user", raw))
    return Answers(own["item"].to_numpy().astype(np.int64), own["label"].to_numpy() > 0)


def request(interactions: Interactions, question: Question) -> Tensors:
    """The student's newest answers, and the questions that are named as candidates, or else all, by the names of either
    model."""
    question.refuse("history", "a history of items does not say what was right")
    if question.user is None:
        raise ValueError("say which student: --student ID")
    numbers = np.arange(1, min(len(interactions.items), min(question.most, MAX_QUESTIONS) + 1))
    asked = as_ids(interactions, "item", question.candidates or interactions.raws("item", numbers))
    user = {"user_id": as_ids(interactions, "user", [question.user])}
    answers = answers_of(interactions, user)
    return {**user, **carried(interactions, answers), "questions": asked, "candidates": asked}


def carried(interactions: Interactions, answers: Answers) -> Tensors:
    """The newest answers [1, K] as a request carries them."""
    newest = slice(max(0, len(answers.question) - MAX_ANSWERS), None)
    return {
        "history": as_ids(interactions, "item", interactions.raws("item", answers.question[newest])),
        "responses": answers.right[newest].astype(np.int64)[None],
    }


def questions_of(request: Tensors) -> list[RawId]:
    """What is asked about, by either model's name."""
    return request.get("questions", request.get("candidates", np.zeros((1, 0))))[0].tolist()


def by_sequence(interactions: Interactions, model: str, request: Tensors) -> tuple[str, Tensors]:
    """The same question to the model of the release that is sent the answers: its name, and a request with those of
    the data set."""
    if "history" in request:
        return model, request
    asked = {"user_id": request["user_id"], "questions": request["candidates"]}
    answers = carried(interactions, answers_of(interactions, request))
    return model.removesuffix(OF_USER), {**asked, **answers}


def concept_names(interactions: Interactions) -> list[str]:
    """Of concepts 1 to C."""
    field = interactions.schema.only("concept", "item")
    return [field.values[number] if field.values else f"concept {number}" for number in range(1, size_of(field))]


def met(interactions: Interactions, answers: Answers) -> list[list[int]]:
    """Of each concept from 1 to C which answers, counted from 0, were about it."""
    concepts = concepts_of(interactions)[answers.question]
    return [
        np.flatnonzero((concepts == number + 1).any(axis=1)).tolist() for number in range(_num_concepts(interactions))
    ]


def _num_concepts(interactions: Interactions) -> int:
    return size_of(interactions.schema.only("concept", "item")) - 1


def most_met(places: list[list[int]]) -> list[int]:
    """Concepts, counted from 0, the ones with most answers first, of equal ones the earlier first."""
    return sorted(range(len(places)), key=lambda number: -len(places[number]))


def shown(interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
    """Questions by their probability of a right answer."""
    probability, asked = answer["probabilities"][0], questions_of(request)
    rows: list[list[object]] = []
    for place, number in enumerate(ordered(probability).tolist(), 1):
        title = interactions.titles[interactions.dense("item", asked[number])]
        rows.append([place, title, asked[number], float(probability[number])])
    number = len(interactions.items) - 1
    cut = ""
    if len(asked) < number and not question.candidates:
        cut = f", the first {len(asked):,} of {number:,} questions"
    columns = ("", _TITLE, _ITEM, _PROBABILITY)
    return Shown(_who(interactions, question, request), f"probabilities of a right answer{cut}", columns, rows)


def _who(interactions: Interactions, question: Question, request: Tensors) -> tuple[str, ...]:
    answers = answers_of(interactions, request)
    right, number = int(answers.right.sum()), len(answers.right)
    who = f"student {question.user} ({interactions.name})"
    if not interactions.dense("user", request["user_id"].reshape(-1).tolist()[0]):
        who = f"student {question.user}, who is unknown to {interactions.name} and so without answers"
    if "history" not in request:
        return (f"{who}: {right} of {number} answers right there; what was pushed to the server since counts, too",)
    cut = f"; the newest {MAX_ANSWERS} of them are sent" if number > MAX_ANSWERS else ""
    return (f"{who}: {right} of {number} answers right{cut}",)


def towards(shown: Shown, target: float) -> Shown:
    """By nearness of the probability to the target, of equally near ones the more probable first; a line names the
    nearest."""
    at = shown.columns.index(_PROBABILITY)
    near = sorted(shown.rows, key=lambda row: abs(float(str(row[at])) - target))
    rows = [[place, *row[1:]] for place, row in enumerate(near, 1)]
    lines = shown.lines
    if rows:
        best = dict(zip(shown.columns, rows[0], strict=True))
        named = best[_TITLE] if best[_TITLE] == f"item {best[_ITEM]}" else f"{best[_TITLE]} (item {best[_ITEM]})"
        lines += (f"ask next: {named}, probability {best[_PROBABILITY]:.3f}, nearest to {target:g}",)
    return shown._replace(lines=lines, title=f"{shown.title}, the ones nearest to {target:g} first", rows=rows)


def mastered(interactions: Interactions, request: Tensors, answer: Tensors) -> Shown:
    """Mastery by concept, the ones with most answers first."""
    answers = answers_of(interactions, request)
    places, names, values = met(interactions, answers), concept_names(interactions), answer[_MASTERY][0].tolist()
    rows: list[list[object]] = [
        [names[number], values[number], len(places[number]), int(answers.right[places[number]].sum())]
        for number in most_met(places)
    ]
    return Shown(
        (), "mastery by concept, the ones with most answers first", ("concept", _MASTERY, "answers", "right"), rows
    )
