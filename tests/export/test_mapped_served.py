"""Raw ids through a real server: strings and numbers of 62 bits in graphs, a kernel form, a step and an ensemble."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import lint
from export.artifacts import Source
from export.model_config import read_config, render
from export.parity import ParityOptions, walk
from export.repository import publish
from recserve_client.errors import InvalidRequest
from serving import golden
from serving.admin import Admin
from serving.ids import IdMap
from serving.server import ServerOptions, TritonServer
from tests.export.mapped import NAMED, NAMES, SKUS, WHOLE, hot, ranker, reader, with_states
from training.servable import Packed, Servable

pytestmark = [pytest.mark.triton_server, pytest.mark.slow]

Request = dict[str, Any]
NEAR = ("1", "01", " 1", "1 ", "1  ", "001", "1.0", "+1", "anna", "Anna", "anna ", "\u00e9ve", "e\u0301ve", "A" * 1023)
"""Some of them in the map, and what is easily taken for them."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mapped") / "repository"
    models = (ranker(), reader(), *hot(), *with_states())
    publish(folder, models, Source(kind="factory", name="tests.export.mapped"))
    return folder


@pytest.fixture(scope="module")
def client(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    folder = tmp_path_factory.mktemp("server")
    options = ServerOptions(state=folder / "state", log=folder / "server.log")
    with TritonServer(published, options) as server, Admin(server.url, deadline_s=30.0) as client:
        yield client


def ask(model: Servable, users: IdMap, user: Any, items: IdMap, candidates: list[Any]) -> Packed:
    """The eager answer to one request with raw ids."""
    dense = items.dense(np.array(candidates, items.ids.dtype))
    return model.eager(
        torch.from_numpy(users.dense(np.array([user], users.ids.dtype))),
        torch.from_numpy(dense),
        torch.tensor([len(candidates)], dtype=torch.int32),
    )


def test_every_rung_holds_with_raw_ids(published: Path) -> None:
    ladder = walk(published, ParityOptions(requests=64, clients=16))
    assert [row for row in ladder.rows if not row.ok] == []
    walked = {row.model for row in ladder.rows if row.rung == "concurrent"}
    assert walked == {path.name for path in published.iterdir() if path.is_dir()}
    assert {row.rung for row in ladder.rows} >= {"export", "served", "kernel", "concurrent"}


def test_the_linter_accepts_the_release_and_finds_strings_that_would_be_cut(published: Path, tmp_path: Path) -> None:
    assert [found for found in lint.check(published) if found.severity == "error"] == []
    config = read_config(published / "mapped" / "config.pbtxt")
    (output,) = (tensor for tensor in config.output if tensor.name == "asked")
    output.data_type = "TYPE_STRING"
    (tmp_path / "mapped" / "1").mkdir(parents=True)
    (tmp_path / "mapped" / "config.pbtxt").write_text(render(config))
    (tmp_path / "mapped" / "1" / "model.onnx").write_bytes((published / "mapped" / "1" / "model.onnx").read_bytes())
    fields = {found.field for found in lint.check(tmp_path) if found.severity == "error"}
    assert fields == {"output.asked.data_type", "batch_output.asked.target_name"}


def test_the_server_says_what_a_client_sends_and_gets(client: Admin) -> None:
    said = client.metadata("mapped")
    types = {tensor.name: tensor.datatype for tensor in (*said.inputs, *said.outputs)}
    assert types == {
        "user": "BYTES",
        "candidates": "INT64",
        "scores": "FP32",
        "asked": "INT64",
        "best": "INT64",
        "who": "BYTES",
    }
    assert {tensor.name: tensor.datatype for tensor in client.metadata("ranker").inputs} == {
        "user_id": "BYTES",
        "candidates": "INT64",
    }


@pytest.mark.parametrize("user", [*NEAR, "\u7121\u540d", "A" * 1024, "\U0001f600", "x"])
def test_a_client_gets_the_answer_of_its_own_id_and_no_other(client: Admin, user: str) -> None:
    candidates = [5, *SKUS.ids.tolist(), -(2**63), 2**63 - 1]
    answer = client.infer("mapped", {"user": np.array([[user]]), "candidates": np.array([candidates])})
    scores, _, best, _ = ask(ranker(), NAMES, user, SKUS, candidates)
    assert answer["who"].tolist() == [[user if user in NAMES.ids else ""]]
    assert answer["asked"].tolist() == [[one if one in SKUS.ids else SKUS.filling for one in candidates]]
    assert answer["best"].tolist() == SKUS.raw(best.numpy()).tolist()
    np.testing.assert_allclose(answer["scores"], scores[None], atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        [[b"anna", b"1 "]],
        np.array([["anna", "1 "]]),
        np.array([["anna", "1 "]], object),
        np.array([[b"anna", b"1 "]]),
    ],
)
def test_lists_bytes_and_arrays_of_text_are_the_same_ids(client: Admin, form: Any) -> None:
    request: Request = {"user": [[int(WHOLE.ids[0])]], "history": [["1", "anna"]]}
    expected = client.infer("reader", {**request, "candidates": [["anna", "1 "]]})
    answer = client.infer("reader", {**request, "candidates": form})
    np.testing.assert_array_equal(answer["scores"], expected["scores"])
    assert expected["scores"][0, 0] != expected["scores"][0, 1]


@pytest.mark.parametrize(
    ("model", "request_", "shape"),
    [
        ("mapped", {"user": [["1"]], "candidates": np.zeros((1, 0), np.int64)}, (1, 0)),
        ("reader", {"user": [[7]], "history": [["1"]], "candidates": np.zeros((1, 0), object)}, (1, 0)),
        ("reader", {"user": [[7]], "history": np.zeros((1, 0), object), "candidates": [["1", "nobody"]]}, (1, 2)),
    ],
)
def test_requests_without_ids_are_answered(client: Admin, model: str, request_: Request, shape: tuple[int]) -> None:
    assert client.infer(model, request_)["scores"].shape == shape


GOOD: Request = {"user": [["anna"]], "candidates": [[3, 0]]}
BAD: list[tuple[Request, str]] = [
    ({"user": [["x" * 1025]]}, "mapped: input 'user': element 0 has 1025 bytes; send 1024 or fewer"),
    ({"user": [["\u00e9" * 513]]}, "mapped: input 'user': element 0 has 1026 bytes"),
    ({"user": [[b"\xff\xfe"]]}, "mapped: input 'user': element 0 is no UTF-8 text"),
    ({"user": [[b"\xed\xa0\x80"]]}, "mapped: input 'user': element 0 is no UTF-8 text"),
    ({"user": [[b"anna\0"]]}, "mapped: input 'user': element 0 holds a NUL character"),
    ({"user": [["anna\0x"]]}, "mapped: input 'user': element 0 holds a NUL character"),
    ({"user": [["\ud800"]]}, "mapped: input 'user': element 0 holds half a surrogate pair"),
    ({"user": [[1]]}, "input 'user' data-type is 'INT64', but model 'mapped' expects 'BYTES'"),
    ({"user": [["anna", 1]]}, "mapped: input 'user' mixes types"),
    ({"user": [[None]]}, "mapped: input 'user' mixes types"),
    ({"user": [["anna", "1"]]}, "unexpected shape for input 'user'"),
    ({"user": [["anna"], ["1"]]}, "input 'user' batch size does not match other inputs"),
    ({"candidates": [["3", "0"]]}, "input 'candidates' data-type is 'BYTES', but model 'mapped' expects 'INT64'"),
]


@pytest.mark.parametrize(("bad", "said"), BAD)
def test_what_is_no_id_is_refused_by_name_and_alone(client: Admin, bad: Request, said: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        client.infer("mapped", {**GOOD, **bad})
    assert client.infer("mapped", GOOD)["asked"].tolist() == GOOD["candidates"]


def test_sixteen_clients_get_their_own_ids_back_beside_requests_that_are_refused(client: Admin) -> None:
    random, model = np.random.default_rng(0), ranker()
    requests = []
    for _ in range(320):
        candidates = random.choice([*SKUS.ids.tolist(), 5, 2**62], int(random.integers(0, 30))).astype(np.int64)
        requests.append((str(random.choice([*NEAR, "bad"])), candidates[None]))

    def one(request: tuple[str, np.ndarray]) -> None:
        user, candidates = request
        sent = np.array([[b"\xff" if user == "bad" else user.encode()]], object)
        if user == "bad":
            with pytest.raises(InvalidRequest, match="is no UTF-8 text"):
                client.infer("mapped", {"user": sent, "candidates": candidates})
            return
        answer = client.infer("mapped", {"user": sent, "candidates": candidates})
        assert answer["who"].tolist() == [[user if user in NAMES.ids else ""]]
        assert answer["asked"].tolist() == SKUS.raw(SKUS.dense(candidates)).tolist()
        (scores, *_) = ask(model, NAMES, user, SKUS, candidates[0].tolist())
        np.testing.assert_allclose(answer["scores"][0], scores, atol=1e-5)

    before = client.statistics("mapped")
    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(one, requests))) == len(requests)
    after = client.statistics("mapped")
    assert after.executions - before.executions < after.requests - before.requests


def test_a_users_state_is_found_by_the_raw_id_and_strangers_have_none(client: Admin) -> None:
    *_, ensemble = with_states()
    candidates = np.array([[int(SKUS.ids[0]), 5, 0]])
    for user in (NAMED.ids[9], NAMED.ids[13]):
        answer = client.infer("ranker", {"user_id": [[user]], "candidates": candidates})
        dense = torch.tensor([[int(NAMED.dense(np.array(user, object)))]])
        items = torch.from_numpy(SKUS.dense(candidates[0]))
        (scores,) = ensemble.eager(dense, items, torch.tensor([3], dtype=torch.int32))
        np.testing.assert_allclose(answer["scores"][0], scores, atol=1e-5)
    strangers = [client.infer("ranker", {"user_id": [[one]], "candidates": candidates}) for one in ("x", NAMED.ids[0])]
    np.testing.assert_array_equal(strangers[0]["scores"], strangers[1]["scores"])
    with pytest.raises(InvalidRequest, match="input 'user_id': element 0 is no UTF-8 text"):
        client.infer("ranker", {"user_id": [[b"\xff"]], "candidates": candidates})


def test_the_kernel_form_maps_its_ids_beside_the_program(client: Admin, published: Path) -> None:
    assert (published / "mapped_hot_kernel" / "1" / "ids.candidates.safetensors").is_file()
    assert not list((published / "mapped_hot" / "1").glob("ids.*"))
    request = {
        "candidates": [["anna", "1", "nobody", "1 "]],
        "product": np.ones((1, 8, 8), np.float32),
        "bias": np.ones((1, 8), np.float32),
    }
    answers = [client.infer(name, request)["scores"] for name in ("mapped_hot", "mapped_hot_kernel")]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    assert len(set(answers[0][0].tolist())) == 4


def test_a_server_that_starts_again_gives_the_same_answers(client: Admin, published: Path, tmp_path: Path) -> None:
    asked = {
        model: [one.inputs for one in golden.read(published / model / "1" / "golden.safetensors")]
        for model in ("mapped", "reader", "ranker")
    }
    before = {model: [client.infer(model, request) for request in requests] for model, requests in asked.items()}
    options = ServerOptions(state=tmp_path / "state", log=tmp_path / "server.log")
    with TritonServer(published, options) as server, Admin(server.url, deadline_s=30.0) as again:
        for model, requests in asked.items():
            for request, expected in zip(requests, before[model], strict=True):
                answer = again.infer(model, request)
                for name, array in expected.items():
                    np.testing.assert_array_equal(answer[name], array)
