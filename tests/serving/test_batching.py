"""Dynamic batches in a running server."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recserve_client.errors import InvalidRequest, ServerFailure, ServingError
from serving.admin import Admin
from tests.serving.patience import shared

pytestmark = pytest.mark.triton_server

Request = Mapping[str, np.ndarray]
Answer = dict[str, np.ndarray] | ServingError


def ask_together(client: Admin, model: str, requests: Sequence[Request]) -> list[Answer]:
    """Answers in order."""

    def ask(request: Request) -> Answer:
        try:
            return client.infer(model, request)
        except ServingError as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(ask, requests))


def ask_until_shared(client: Admin, model: str, requests: Sequence[Request]) -> list[Answer]:
    """The answers in order of a time in which requests shared executions."""
    answers: list[Answer] = []

    def ask() -> int:
        answers[:] = ask_together(client, model, requests)
        return len(answers)

    assert shared(client, model, ask), "no two requests shared an execution"
    return answers


def score_request(count: int, weight: float) -> dict[str, np.ndarray]:
    return {"candidates": np.arange(count, dtype=np.int64)[None], "weight": np.array([[weight]], np.float32)}


def test_concurrent_requests_share_executions_and_are_answered_as_alone(client: Admin) -> None:
    random = np.random.default_rng(0)
    requests = [{"x": random.normal(size=(rows, 3)).astype(np.float32)} for rows in [1, 2, 3, 1] * 16]
    alone = [client.infer("scaled", request) for request in requests]
    answers = ask_until_shared(client, "scaled", requests)
    for expected, answer in zip(alone, answers, strict=True):
        assert isinstance(answer, dict)
        np.testing.assert_array_equal(answer["y"], expected["y"])
        np.testing.assert_array_equal(answer["z"], expected["z"])


def test_ragged_requests_of_unlike_length_share_executions_and_keep_their_scores(client: Admin) -> None:
    requests = [score_request(count, weight) for weight in range(1, 13) for count in (0, 1, 5, 100)]
    answers = ask_until_shared(client, "scorer", requests)
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, dict)
        assert answer["scores"].shape == request["candidates"].shape
        np.testing.assert_array_equal(answer["scores"], request["weight"] * request["candidates"])


def test_batch_inputs_count_the_requests_of_the_batch(client: Admin) -> None:
    requests = [{"items": np.zeros((1, count), np.int64)} for count in [0, 1, 5, 100] * 12]
    answers = ask_until_shared(client, "counts", requests)
    rows = []
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, dict)
        own, end, start, longest = answer["counts"][0]
        assert own == request["items"].size == end - start
        assert longest >= own
        rows.append((start, longest))
    # Without batching each request would start at 0 and be the longest of its batch.
    assert any(start > 0 for start, _ in rows)


def test_a_request_that_is_refused_leaves_the_others_of_its_batch_alone(client: Admin) -> None:
    requests = [score_request(5, float(k)) for k in range(31)]
    bad = {"candidates": np.array([[3, -7]]), "weight": np.ones((1, 1), np.float32)}
    answers = ask_together(client, "scorer", [*requests[:15], bad, *requests[15:]])
    refusal = answers.pop(15)
    assert isinstance(refusal, InvalidRequest)
    assert "scorer: input 'candidates': -7 is negative; send 0 or more" in str(refusal)
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, dict)
        np.testing.assert_array_equal(answer["scores"], request["weight"] * request["candidates"])


def test_a_request_that_breaks_the_run_of_its_batch_fails_alone(client: Admin) -> None:
    requests = [{"id": np.array([[k % 10]])} for k in range(31)]
    answers = ask_together(client, "lookup", [*requests[:15], {"id": np.array([[77]])}, *requests[15:]])
    failure = answers.pop(15)
    assert isinstance(failure, ServerFailure)
    assert "idx=77" in str(failure)
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, dict)
        assert answer["value"][0, 0] == request["id"][0, 0] / 2
