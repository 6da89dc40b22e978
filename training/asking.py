"""What a person asks a served model, and the answer as a table: the shapes that tasks fill for `recserve ask`."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from training.interactions import Interactions, RawId, of_user
from training.schema import Field, Role
from training.servable import NO_SCORE

Tensors = dict[str, np.ndarray]
"""Of one request or answer by name, each [1, ...], as a client sends and gets them."""
Infer = Callable[[str, Tensors], Tensors]
"""(model, request) -> answer."""


NO_EVENTS = "nothing is listed, as the release knows no events of this user"
"""Where reasons are a user's events."""
_NAMED = 5
"""Titles that a line names."""


class Question(NamedTuple):
    """Whom and what is asked about, by raw ids."""

    user: RawId | None
    """None where nobody is named."""
    history: tuple[RawId, ...]
    """Items, oldest first, in place of a user's."""
    candidates: tuple[RawId, ...]
    """Items to rank; empty for all that the user has not met."""
    most: int
    """Items of one request at most."""

    def dense_user(self, interactions: Interactions) -> int:
        """0 for nobody, and for a user who is unknown."""
        return 0 if self.user is None else interactions.dense("user", self.user)

    def refuse(self, part: Literal["user", "history", "candidates"], why: str) -> None:
        """Raises ValueError where the question has a part that the answer would not depend on."""
        if getattr(self, part):
            raise ValueError(f"{why}; leave --{part} out")


class Shown(NamedTuple):
    """An answer for people, best first."""

    lines: tuple[str, ...]
    """What is asked about."""
    title: str
    columns: tuple[str, ...]
    rows: list[list[object]]


class Course(NamedTuple):
    """How figures of somebody went while events came."""

    title: str
    axis: str
    """What `steps` count."""
    steps: np.ndarray
    """int64 [K], ascending: events before each of the figures."""
    words: tuple[str, str]
    """What an event is called that went well, and one that did not."""
    lines: "tuple[Line, ...]"


class Line(NamedTuple):
    """One figure, and the events that were about it."""

    name: str
    values: np.ndarray
    """float [K] in [0, 1]"""
    good: np.ndarray
    """int64: which events, counted from 1, went well."""
    bad: np.ndarray
    """int64: which did not."""


def unseen(interactions: Interactions, question: Question) -> list[RawId]:
    """The question's candidates, or else one item of each title that its user has not met, at most `most`, the ones
    that are met most often by anybody."""
    if question.candidates:
        return list(question.candidates)
    offered = _new(interactions, question)
    if len(offered) > question.most:
        counts = np.bincount(interactions.events["item"].to_numpy(), minlength=len(interactions.titles))
        offered = np.sort(offered[np.argsort(-counts[offered], kind="stable")[: question.most]])
    return interactions.raws("item", offered)


def _new(interactions: Interactions, question: Question) -> np.ndarray:
    """int64: one item of each title that the user has not met, ascending."""
    titles = np.array(interactions.titles, dtype=object)
    met = np.zeros(len(titles), bool)
    met[met_by(interactions.events, question.dense_user(interactions))] = True
    _, first = np.unique(titles[1:], return_index=True)
    known = {*titles[met].tolist()}
    return np.array([item for item in np.sort(first + 1).tolist() if titles[item] not in known], np.int64)


def of_what(interactions: Interactions, question: Question) -> str:
    """What `unseen` gives, in words."""
    if question.candidates:
        return f"{len(question.candidates):,} candidates"
    count = len(_new(interactions, question))
    found = f"the {question.most:,} most popular of {count:,}" if count > question.most else f"{count:,}"
    return f"{found} items that are new to the user"


def about(interactions: Interactions, question: Question, newest: Sequence[int], what: str) -> str:
    """One line: whose history it is, and the newest titles of it, given as dense ids."""
    named = ", ".join(dict.fromkeys(interactions.titles[item] for item in newest[:_NAMED])) or "nothing yet"
    if question.history:
        return f"history of {len(question.history)} items ({interactions.name}), newest first: {named}"
    known = "" if question.dense_user(interactions) else ", whom it does not know,"
    return f"user {question.user} ({interactions.name}){known} {what}: {named}"


def history_of(interactions: Interactions, question: Question, events: pl.DataFrame) -> list[RawId]:
    """The history that is asked about, oldest first: what is named, or else the user's among these events.

    Raises ValueError where nobody is named.
    """
    if question.history:
        return list(question.history)
    if question.user is None:
        raise ValueError("say for whom: --user ID, or --history ITEM ... with at least one item")
    return interactions.raws("item", met_by(events, question.dense_user(interactions)))


def met_by(events: pl.DataFrame, user: int) -> np.ndarray:
    """int64: the items of a user's events, oldest first."""
    return of_user(events, user)["item"].to_numpy().astype(np.int64)


def newest_of(interactions: Interactions, question: Question, request: Tensors, events: pl.DataFrame) -> list[int]:
    """Dense ids of the history that a request carries, or which the server has of the user, as the data set knows it,
    newest first."""
    if "history" not in request:
        return met_by(events, question.dense_user(interactions))[::-1].tolist()
    return [interactions.dense("item", item) for item in reversed(request["history"][0].tolist())]


def listed(
    interactions: Interactions, question: Question, newest: Sequence[int], answer: Tensors, words: tuple[str, str]
) -> Shown:
    """The answer of a model that lists items: `items` and `scores`, fillings left out, best first. `words` are the
    title and what the user did with the items of the history."""
    title, what = words
    columns = {"score": answer["scores"][0]}
    columns |= {"retriever": answer["retriever_scores"][0]} if "retriever_scores" in answer else {}
    rows: list[list[object]] = []
    for place in ordered(columns["score"]).tolist():
        item = answer["items"][0][place]
        if number := interactions.dense("item", item if isinstance(item, str) else int(item)):
            numbers = (float(values[place]) for values in columns.values())
            rows.append([len(rows) + 1, interactions.titles[number], item, *numbers])
    unknown = sum(not item for item in newest)
    lines = (about(interactions, question, newest, what),)
    if unknown:
        counted = "1 item of the history is" if unknown == 1 else f"{unknown} items of the history are"
        lines += (f"{counted} not known to {interactions.name}",)
    return Shown(lines, title, ("", "title", "item", *columns), rows)


def profiles(interactions: Interactions, user: str | None, items: Sequence[str]) -> Shown:
    """What the data set has of user and items, whichever of it the system reads."""

    def told(role: Role, name: str) -> str:
        return fields_of(interactions, role, interactions.dense(role, interactions.named(role, name)))

    who = () if user is None else (f"user: {told('user', user)}",)
    title = f"what {interactions.name} has of the items"
    if not _told(interactions, "item"):
        return Shown((*who, f"{interactions.name} has no fields of the items"), title, (), [])
    rows: list[list[object]] = [[place, told("item", item)] for place, item in enumerate(items, 1)]
    return Shown(who, title, ("", "fields"), rows)


def fields_of(interactions: Interactions, role: Role, row: int) -> str:
    """The fields of a user or an item for people: name=value, named where the schema has names; or that there are
    none, or that it is unknown."""
    if not row:
        return f"not known to {interactions.name}"
    frame, fields = _profiles(interactions, role), _told(interactions, role)
    found = ", ".join(f"{field.name}={_value(field, frame[field.name][row])}" for field in fields)
    return found or f"no fields in {interactions.name}"


def _profiles(interactions: Interactions, role: Role) -> pl.DataFrame:
    return interactions.users if role == "user" else interactions.items


def _told(interactions: Interactions, role: Role) -> list[Field]:
    columns = _profiles(interactions, role).columns
    fields = interactions.schema.fields
    return [one for one in fields if one.role == role and one.name in columns and one.kind != "text"]


def _value(field: Field, value: Any) -> str:
    if field.kind == "dense":
        return "missing" if value is None or np.isnan(value) else f"{value:g}"
    several = value.to_list() if field.kind == "multi" else [value]
    return "|".join(field.values[one] if field.values else f"{one:g}" for one in several) or "none"


def as_ids(interactions: Interactions, role: Role, raw: Sequence[RawId]) -> np.ndarray:
    """Raw ids [1, n] as a client of this data set sends them: int64, or text, also where there is none."""
    return np.array([raw], object if interactions.has_text_ids(role) else np.int64)


def ordered(scores: np.ndarray) -> np.ndarray:
    """Places of the scores, best first, of equal ones the earlier first."""
    return np.argsort(-scores, kind="stable")


def leading(request: Tensors, answer: Tensors, most: int) -> tuple[Tensors, Tensors]:
    """Request and answer with their best candidates alone, `most` of them; of an answer that lists items the scores of
    all others are those of places without an item. As they are where nothing was ranked."""
    candidates, scores, items = request.get("candidates"), answer.get("scores"), answer.get("items")
    if items is not None and scores is not None and items.shape == scores.shape:
        kept = np.full_like(scores, NO_SCORE)
        best = ordered(scores[0])[:most]
        kept[:, best] = scores[:, best]
        return request, {**answer, "scores": kept}
    if candidates is None or scores is None or candidates.shape != scores.shape:
        return request, answer
    best = ordered(scores[0])[:most]
    return {**request, "candidates": candidates[:, best]}, {**answer, "scores": scores[:, best]}
