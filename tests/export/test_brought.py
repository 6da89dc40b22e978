"""What teams bring, published together and served by one real server: each rung holds, each bad request is refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.parity import ParityOptions, walk
from export.repository import publish
from recserve_client import Client
from recserve_client.errors import InvalidRequest
from serving import golden
from serving.direct import DirectModel
from serving.server import ServerOptions, TritonServer
from tests.export.brought import PUBLISHED

pytestmark = [pytest.mark.triton_server, pytest.mark.slow]

Request = dict[str, np.ndarray]
NOTES = {
    "causal": ["axis 'length' starts at 1", "input 'history' takes values from 0 to 19"],
    "flat": ["input 'user' takes values from 0 to 19"],
    "names_and_copies": ["input 'ids' takes values from 0 to 19"],
    "pooled": ["input 'history' takes values from 0 to 19"],
    "recurrent": ["axis 'length' starts at 1"],
    "repeating": ["input 'user' takes values from 0 to 19", "input 'candidates' takes values from 0 to 19"],
    "tables": ["input 'ids' takes values from 0 to 39 at place 0, -20 to 19 at place 1, 0 to 39 at place 2"],
    "tied": ["input 'ids' takes values from 0 to 19"],
}


@pytest.fixture(scope="module")
def notes() -> list[str]:
    return []


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory, notes: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("brought") / "repository"
    torch.manual_seed(0)
    signatures = [factory() for factory in PUBLISHED]
    publish(folder, signatures, Source(kind="factory", name="tests.export.brought"), report=notes.append)
    return folder


@pytest.fixture(scope="module")
def client(brought: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with TritonServer(brought, ServerOptions(log=log)) as server, Client(server.url, deadline_s=30.0) as client:
        yield client


def one(brought: Path, model: str) -> golden.Golden:
    return golden.read(brought / model / "1" / "golden.safetensors")[0]


def test_every_rung_holds_for_all_that_is_brought(brought: Path) -> None:
    ladder = walk(brought, ParityOptions(requests=48, clients=8))
    assert [row for row in ladder.rows if not row.ok] == []
    assert {row.model for row in ladder.rows if row.rung == "concurrent"} == {factory.__name__ for factory in PUBLISHED}


def test_bounds_that_nobody_declared_are_said(brought: Path, notes: list[str]) -> None:
    said = {
        model: [note for note in notes if note.startswith(f"{model}: ") and "staging" not in note] for model in NOTES
    }
    for model, expected in NOTES.items():
        assert len(said[model]) == len(expected)
        assert all(text in note for text, note in zip(expected, said[model], strict=True))


def test_copies_are_equal_and_a_flat_score_has_one_axis_beside_the_batch(client: Client, brought: Path) -> None:
    request = one(brought, "names_and_copies").inputs
    answer = client.infer("names_and_copies", request)
    np.testing.assert_array_equal(answer["tensors_0"], request["embedding"])
    np.testing.assert_array_equal(answer["linear"], answer["relu"])
    request = one(brought, "flat").inputs
    answer = client.infer("flat", {name: np.repeat(array, 3, axis=0) for name, array in request.items()})
    assert {name: array.shape for name, array in answer.items()} == dict.fromkeys(("score", "clicked", "asked"), (3, 1))
    np.testing.assert_array_equal(answer["asked"], np.repeat(request["user"], 3, axis=0))


LONG = np.zeros((1, 10), np.int64)
HISTORY = np.array([[1, 2, 3]])
BAD: list[tuple[str, Request, str]] = [
    ("causal", {"history": np.zeros((1, 0), np.int64)}, "'history' has 0 elements along 'length'; send 1 or more"),
    ("causal", {"history": np.array([[1, -1]])}, "-1 is negative"),
    ("causal", {"history": np.array([[1, -(2**62)]])}, "is negative"),
    ("causal", {"history": np.array([[1, 2**62]])}, "is above 19"),
    ("causal", {"history": np.zeros((0, 3), np.int64)}, "input byte size mismatch"),
    ("causal", {"history": np.zeros((1, 2, 2), np.int64)}, "unexpected shape"),
    ("causal", {"history": np.zeros((65, 2), np.int64)}, "batch"),
    ("recurrent", {"events": np.zeros((1, 0, 4), np.float32)}, "'events' has 0 elements along 'length'"),
    ("recurrent", {"events": np.zeros((2, 0, 4), np.float32)}, "'events' has 0 elements along 'length'"),
    ("recurrent", {"events": np.zeros((1, 3, 0), np.float32)}, "unexpected shape"),
    ("recurrent", {"events": np.zeros((0, 3, 4), np.float32)}, "input byte size mismatch"),
    ("pooled", {"history": HISTORY, "mask": np.ones((1, 2), bool)}, "'mask' has 2 elements along 'length', input 'hi"),
    ("pooled", {"history": HISTORY, "mask": np.ones((1, 1), bool)}, "'mask' has 1 elements along 'length'; send 2 or"),
    ("pooled", {"history": LONG, "mask": LONG == 0}, "'history' has 10 elements along 'length'; send 9 or fewer"),
    ("tables", {"ids": np.array([[0, 0, -1]])}, "-1 at place 2 is negative; send 0 or more"),
    ("tables", {"ids": np.array([[0, -21, 0]])}, "-21 at place 1 is below -20; send -20 or more"),
    ("tables", {"ids": np.array([[9, 9, 9], [39, 20, 39]])}, "20 at place 1 is above 19; send 19 or less"),
    ("flat", {"user": np.array([[-1]])}, "-1 is negative"),
    ("flat", {"user": np.array([[1, 2]])}, "unexpected shape"),
    ("repeating", {"user": np.array([[1]]), "candidates": np.array([[1, 20]])}, "20 is above 19"),
]


@pytest.mark.parametrize(("model", "bad", "text"), BAD)
def test_a_bad_request_is_refused_alone(client: Client, brought: Path, model: str, bad: Request, text: str) -> None:
    good = one(brought, model)
    with pytest.raises(InvalidRequest, match=re.escape(text)):
        client.infer(model, bad if bad.keys() == good.inputs.keys() else {**good.inputs, **bad})
    assert golden.compare(good.outputs, client.infer(model, good.inputs), 1e-5).ok


def test_an_id_that_only_one_field_has_is_answered_there(client: Client, brought: Path) -> None:
    request = {"ids": np.array([[39, -20, 39], [0, 19, 0]])}
    (expected,) = DirectModel.open(brought / "tables").run([request])
    np.testing.assert_allclose(client.infer("tables", request)["answer"], expected["answer"], atol=1e-6)


def test_an_input_without_elements_that_the_model_can_answer_is_answered(client: Client) -> None:
    answer = client.infer("repeating", {"user": np.array([[1]]), "candidates": np.zeros((1, 0), np.int64)})
    assert {name: array.shape for name, array in answer.items()} == {"scores": (1, 0), "same": (1, 0)}
