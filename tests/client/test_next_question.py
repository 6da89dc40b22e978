"""Which question a student is to be asked next: what is sent to either form of a tracing model, what is refused, and in
which order the answer comes. Needs no server."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from recserve_client import questions
from recserve_client.core import Core
from recserve_client.errors import InvalidRequest, ServerFailure
from recserve_client.questions import Question, Suggested
from tests.client.performed import World
from tests.client.test_questions import FP32, INT64, TEXT, Served, Tensors

OF_USER: Tensors = {"user_id": (INT64, [1]), "candidates": (INT64, [-1])}
BY_SEQUENCE: Tensors = {
    "user_id": (INT64, [1]),
    "history": (TEXT, [-1]),
    "responses": (INT64, [-1]),
    "questions": (TEXT, [-1]),
}
SAID: Tensors = {"probabilities": (FP32, [-1]), "mastery": (FP32, [2])}
PROBABILITIES = (0.25, 0.9, 0.75, 0.25)


def tracer(inputs: Tensors = OF_USER, *probabilities: float, **parameters: str) -> Served:
    answer = {
        "probabilities": np.array([probabilities or PROBABILITIES], np.float32),
        "mastery": np.array([[0.5, 0.5]], np.float32),
    }
    return Served(inputs, SAID, answer, **{"task": "tracing", "dataset": "school", **parameters})


def suggested(served: Served, asked: Any, target: Any = 0.7, **said: Any) -> Suggested:
    core = Core(["a:1"], 5.0, {}, 0)
    names: Mapping[str, str] = {"history": questions.HISTORY, "responses": questions.RESPONSES}
    named = {questions.USER: said.get("student", 42), questions.QUESTIONS: asked}
    named |= {name: said.get(word) for word, name in names.items()}
    question = Question("m", said.get("dataset"), named, {})
    return World(served).run(questions.next_question(core, core.ask(request_id="id"), question, target))


@pytest.mark.parametrize(
    ("target", "order"),
    [
        (0.7, (9, 8, 7, 6)),
        (0.0, (7, 6, 9, 8)),
        (1, (8, 9, 7, 6)),
        (np.float32(0.25), (7, 6, 9, 8)),
        (0.5, (7, 9, 6, 8)),
    ],
)
def test_questions_come_nearest_to_the_target_first_and_equally_near_ones_as_they_came(
    target: Any, order: tuple[int, ...]
) -> None:
    served = tracer()
    found = suggested(served, [7, 8, 9, 6], target, dataset="school")
    of_each: dict[object, float] = dict(zip((7, 8, 9, 6), PROBABILITIES, strict=True))
    assert found == (order, tuple(np.float32(of_each[one]).item() for one in order), "3", "id")
    np.testing.assert_array_equal(served.sent("user_id"), [[42]])
    np.testing.assert_array_equal(served.sent("candidates"), [[7, 8, 9, 6]])


def test_a_model_that_is_sent_the_answers_gets_them_and_the_questions_by_its_own_name() -> None:
    served = tracer(BY_SEQUENCE)
    found = suggested(served, ["w", "x", "y", "z"], history=["a", "b", "a"], responses=[1, 0, 1])
    assert found.questions == ("y", "x", "w", "z")
    np.testing.assert_array_equal(served.sent("responses"), [[1, 0, 1]])
    sent = {tensor.name: tensor.shape for tensor in served.requests[-1].inputs}
    assert sent == {"user_id": [1, 1], "history": [1, 3], "responses": [1, 3], "questions": [1, 4]}


@pytest.mark.parametrize("target", [-0.1, 1.1, True, "0.7", None, float("nan"), [0.7]])
def test_a_target_that_is_no_probability_is_refused_before_anything_is_sent(target: Any) -> None:
    served = tracer()
    with pytest.raises(InvalidRequest, match="give a probability, from 0 to 1"):
        suggested(served, [7, 8, 9, 6], target)
    assert (served.requests, served.described) == ([], 0)


@pytest.mark.parametrize(
    ("served", "said", "text"),
    [
        (tracer(BY_SEQUENCE), {}, r"also takes history \(BYTES \[-1\]\), responses .*; give history="),
        (tracer(BY_SEQUENCE), {"history": ["a"]}, r"also takes responses \(INT64 \[-1\]\); give responses="),
        (tracer(), {"history": [1], "responses": [1]}, "model 'm' takes no history; it takes user_id"),
        (tracer(), {"student": "anna"}, "m: user_id: 'anna' is a str; the model takes ids of int64"),
        (tracer(task="click"), {}, "model 'm' is of the task click, not of tracing; use infer"),
        (tracer(part_of="dkt"), {}, "model 'm' is a part of 'dkt'; ask 'dkt'"),
        (tracer(), {"dataset": "shop"}, "model 'm' is of data set school, not of shop"),
    ],
)
def test_what_the_model_does_not_take_is_refused_by_name(served: Served, said: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        suggested(served, [7, 8, 9, 6] if served.config.input[-1].data_type == INT64 else ["a"], **said)
    assert served.requests == []


def test_another_number_of_probabilities_is_the_server_s_failure() -> None:
    with pytest.raises(ServerFailure, match="model 'm' gives 2 probabilities for 3 questions"):
        suggested(tracer(OF_USER, 0.1, 0.2), [7, 8, 9])
