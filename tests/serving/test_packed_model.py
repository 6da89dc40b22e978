"""A dynamic batch of several runs in a backend's process, with stand-ins for what the Python backend gives it.

In the server: tests/serving/test_batching.py.
"""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from serving.backends import packing
from tests.serving.test_packing import candidates, ragged_spec

FINAL = 1


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class Response:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: str | None = None) -> None:
        self.outputs = {one.name(): one.as_numpy().tolist() for one in output_tensors or ()}
        self.failure = error


class Request:
    """Of so many candidates; tells `events` what is sent to it."""

    def __init__(self, events: list[str], count: int, wrong: bool = False) -> None:
        self.events, self.count, self.wrong = events, count, wrong
        self.received: list[Response] = []

    def inputs(self) -> list[Tensor]:
        arrays = candidates(self.count)
        return [Tensor(name, array.astype(np.float32) if self.wrong else array) for name, array in arrays.items()]

    def requested_output_names(self) -> list[str]:
        return ["scores"]

    def get_response_sender(self) -> "Request":
        return self

    def send(self, response: Response, flags: int) -> None:
        assert flags == FINAL
        self.received.append(response)
        self.events.append(f"sent {self.count}")


class Observer:
    def refused(self, counted: str) -> None:
        pass

    def answered(self, inputs: object, outputs: object) -> None:
        pass


@pytest.fixture
def packed_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, which the backend's process alone can import."""
    stand_in = ModuleType("triton_python_backend_utils")
    codes = {"__new__": lambda cls, text, code: text, "INVALID_ARG": 3, "INTERNAL": 13}
    parts = {"Tensor": Tensor, "InferenceResponse": Response, "TritonError": type("TritonError", (), codes)}
    vars(stand_in).update(parts, TRITONSERVER_RESPONSE_COMPLETE_FINAL=FINAL)
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.delitem(sys.modules, "serving.backends.packed_model", raising=False)
    yield importlib.import_module("serving.backends.packed_model")
    monkeypatch.delitem(sys.modules, "serving.backends.packed_model")


def model_of(module: Any, bound: str | None, events: list[str], fails: int | None = None) -> Any:
    """Scores ten times the candidates' ids, in runs of at most so many; a run with a request of `fails` fails."""

    class Model(module.PackedModel):
        def run(self, batch: list[packing.Request]) -> list[dict[str, np.ndarray]]:
            sizes = [request["candidates"].size for request in batch]
            events.append(f"run {sizes}")
            if fails in sizes:
                raise RuntimeError("no such row")
            return packing.answer(self.spec, batch, lambda feeds: {"scores": feeds["candidates"] * 10})

    model = Model()
    model.spec, model._backlog, model._tracer, model._observer = ragged_spec(bound), None, None, Observer()
    return model


def scores(count: int) -> dict[str, list[list[int]]]:
    return {"scores": [[10 * number for number in range(count)]]}


def test_answers_of_a_run_go_out_before_the_next_begins(packed_model: Any) -> None:
    events: list[str] = []
    requests = [Request(events, count) for count in (3, 4, 5, 2, 6)]
    returned = model_of(packed_model, "7", events).execute(requests)
    assert events == ["run [3, 4]", "sent 3", "sent 4", "run [5, 2]", "sent 5", "sent 2", "run [6]"]
    assert returned[:4] == [None] * 4
    for request in requests[:4]:
        assert [one.outputs for one in request.received] == [scores(request.count)]
    assert returned[4].outputs == scores(6)
    assert not requests[4].received


def test_a_batch_of_one_run_is_returned_as_a_whole(packed_model: Any) -> None:
    events: list[str] = []
    requests = [Request(events, count) for count in (3, 4)]
    returned = model_of(packed_model, None, events).execute(requests)
    assert [one.outputs for one in returned] == [scores(3), scores(4)]
    assert events == ["run [3, 4]"]


def test_each_request_of_several_runs_is_answered_once_where_some_fail_or_are_refused(packed_model: Any) -> None:
    events: list[str] = []
    requests = [Request(events, count, wrong=count == 1) for count in (3, 1, 4, 5, 2, 1, 6)]
    returned = model_of(packed_model, "7", events, fails=4).execute(requests)
    answers = [
        [*request.received, *([] if one is None else [one])] for request, one in zip(requests, returned, strict=True)
    ]
    assert [len(one) for one in answers] == [1] * 7
    said = [one[0].failure or one[0].outputs for one in answers]
    refused = "scorer: input 'candidates' is float32; send int64"
    failed = "the model failed on this request: no such row"
    assert said == [scores(3), refused, failed, scores(5), scores(2), refused, scores(6)]
    # Only the run that failed is asked again, one by one.
    assert [one for one in events if one.startswith("run")] == [
        "run [3, 4]",
        "run [3]",
        "run [4]",
        "run [5, 2]",
        "run [6]",
    ]
