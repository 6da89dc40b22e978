"""REG4Rec behind a real server: the graph and its kernel form."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from export.artifacts import Source
from export.kinds import kernel_forms
from export.parity import ParityOptions, walk
from export.repository import publish
from recserve_client.errors import InvalidRequest
from serving.admin import Admin
from serving.direct import DirectModel
from serving.server import ServerOptions, TritonServer
from tests.training.systems.reg4rec_models import data, trained
from training.layers.served_lists import packed
from training.systems.reg4rec import decode as decoding
from training.systems.reg4rec.servables import servables

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(120)]
MODEL, KERNEL = "reg4rec", "reg4rec_kernel"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generation") / "repository"
    model = trained()
    generator = servables(MODEL, model, model.config, data())
    publish(
        folder,
        (*generator, *kernel_forms(generator)),
        Source(kind="factory", name="tests.serving.test_generation"),
        data().schema,
    )
    return folder


@pytest.fixture(scope="module")
def client(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    folder = tmp_path_factory.mktemp("generation_server")
    with (
        TritonServer(repository, ServerOptions(state=folder / "state", log=folder / "log")) as server,
        Admin(server.url, deadline_s=30.0, admin_key=server.admin_key) as client,
    ):
        yield client


def request(history: list[int], theta: float = 0.5) -> dict[str, np.ndarray]:
    return {"history": np.array([history], np.int64), "theta": np.array([[theta]], np.float32)}


def requests() -> list[dict[str, np.ndarray]]:
    return [
        request(data().sequence(user).tolist(), theta)
        for user, theta in zip(range(1, 25), np.resize([0.0, 0.5, 1.0], 24).tolist(), strict=True)
    ]


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in one.items())


def alike(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """The same integers, and floats to rounding."""
    return all(np.allclose(array, other[name], rtol=0, atol=1e-5) for name, array in one.items())


def test_the_server_answers_what_the_graph_answers_in_this_process(repository: Path, client: Admin) -> None:
    direct = DirectModel.open(repository / MODEL)
    for asked in requests():
        assert same(direct.run([asked])[0], client.infer(MODEL, asked))


def test_integers_are_the_eager_ones(client: Admin) -> None:
    model = trained()
    (eager,) = servables(MODEL, model, model.config, data())
    history, ends, theta = eager.example(16, 3)
    answers = dict(zip([spec.name for spec in eager.outputs], eager.eager(history, ends, theta), strict=True))
    for row, items in enumerate(np.split(history.numpy(), ends[:-1].numpy())):
        served = client.infer(MODEL, request(items.tolist(), theta[row].item()))
        for name in ("items", "paths", "categories"):
            assert np.array_equal(served[name][0], answers[name][row].numpy())
        np.testing.assert_allclose(served["scores"][0], answers["scores"][row].numpy(), atol=1e-5)


def test_theta_0_is_served_as_plain_beam_search(client: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module decodes that checks no path at any step, asked for theta 1."""
    model, changed = trained(), 0
    (plain,) = servables("plain", model, model.config, data())
    monkeypatch.setattr(decoding, "check_steps", lambda codebooks: ())
    for user in range(1, 9):
        history = data().sequence(user)
        answer = plain.eager(*packed([history]), torch.ones(1, 1))
        expected = {spec.name: part.numpy() for spec, part in zip(plain.outputs, answer, strict=True)}
        assert alike(expected, client.infer(MODEL, request(history.tolist(), 0.0)))
        changed += not alike(expected, client.infer(MODEL, request(history.tolist(), 1.0)))
    assert changed


def test_every_request_is_answered_alike_alone_and_among_sixteen_clients(client: Admin) -> None:
    alone = [client.infer(MODEL, asked) for asked in requests()]
    with ThreadPoolExecutor(16) as callers:
        for _ in range(4):
            together = list(callers.map(lambda asked: client.infer(MODEL, asked), requests()))
            assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def test_the_kernel_form_answers_what_the_graph_answers(client: Admin) -> None:
    for asked in requests()[:6]:
        graph, kernel = client.infer(MODEL, asked), client.infer(KERNEL, asked)
        assert all(np.array_equal(graph[name], kernel[name]) for name in ("items", "paths", "categories"))
        np.testing.assert_allclose(graph["scores"], kernel["scores"], atol=1e-5)


@pytest.mark.parametrize("model", [MODEL, KERNEL])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"history": np.array([[3, -7]])}, "input 'history': -7 is negative"),
        ({"history": np.ones((1, 1001), np.int64)}, "input 'history' has 1001 elements, more than the 1000"),
        ({"theta": np.array([[1.5]], np.float32)}, "input 'theta': 1.5 is above 1"),
        ({"theta": np.array([[np.nan]], np.float32)}, "input 'theta' holds NaN"),
    ],
)
def test_a_wrong_request_is_refused_by_name_and_the_next_one_answered(
    client: Admin, model: str, changes: dict[str, np.ndarray], reason: str
) -> None:
    right = request([5, 11, 17])
    before = client.infer(model, right)
    with pytest.raises(InvalidRequest, match=reason):
        client.infer(model, right | changes)
    assert same(before, client.infer(model, right))


@pytest.mark.parametrize("model", [MODEL, KERNEL])
def test_an_empty_history_is_answered_as_one_unknown_item(client: Admin, model: str) -> None:
    empty, unknown = (client.infer(model, request(history)) for history in ([], [2**40]))
    assert (empty["items"] > 0).any()
    for name, array in unknown.items():
        np.testing.assert_allclose(empty[name], array, atol=1e-6)


def test_the_parity_ladder_holds(repository: Path) -> None:
    ladder = walk(repository, ParityOptions(requests=32))
    assert ladder.ok, ladder.rows[-1]
    assert {row.rung for row in ladder.rows if row.model == MODEL} == {
        "model",
        "export",
        "served",
        "concurrent",
    }
    assert {row.rung for row in ladder.rows if row.model == KERNEL} == {"model", "kernel", "concurrent"}
