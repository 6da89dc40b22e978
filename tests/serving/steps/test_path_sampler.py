"""The path sampler: its step in this process, and inside a running tritonserver before a graph."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from export.artifacts import Source
from export.lint import check
from export.repository import publish
from kernels.path_sampling.sampler import FREQUENCIES_FILE
from recserve_client.errors import InvalidRequest
from serving import golden
from serving.admin import Admin
from serving.golden import Golden
from serving.server import ServerOptions, TritonServer
from serving.steps.path_sampler import SamplerStep
from serving.steps.step import Refusal
from tests.serving.path_models import ENSEMBLE, PATHS, SAMPLER, SCORER, release
from tests.serving.patience import shared
from tests.serving.unhosted import Unhosted

CHAINED = "chained"
"""A target whose ensemble is tritonserver's own, with a process for each step."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths") / "repository"
    publish(folder, release(), Source(kind="factory", name="tests.serving.path_models:release"))
    for model in folder.iterdir():
        own = "config.pbtxt" if model.name == ENSEMBLE else "configs/cpu.pbtxt"
        shutil.copy(model / own, model / "configs" / f"{CHAINED}.pbtxt")
    return folder


@pytest.fixture(scope="module")
def step(repository: Path) -> SamplerStep:
    return SamplerStep(Unhosted(), repository / SAMPLER / "1")


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, ServerOptions(target=CHAINED)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[Admin]:
    with Admin(server.url, deadline_s=30.0, admin_key=server.admin_key) as client:
        yield client


def goldens(repository: Path, model: str) -> list[Golden]:
    return golden.read(repository / model / "1" / "golden.safetensors")


def request(*candidates: int, user: int = 10, key: int = 1) -> dict[str, np.ndarray]:
    return {
        "user_id": np.array([[user]]),
        "candidates": np.array([candidates], np.int64),
        "request_key": np.array([[key]]),
    }


def assert_answers(client: Admin, model: str, one: Golden) -> None:
    gap = golden.compare(one.outputs, client.infer(model, one.inputs), 1e-6)
    assert gap.ok, gap


def test_the_step_answers_what_the_eager_sampler_answers(repository: Path, step: SamplerStep) -> None:
    expected = goldens(repository, SAMPLER)
    assert {one.inputs["candidates"].size for one in expected} > {0, 1, 500}
    for one, found in zip(expected, step.answer([one.inputs for one in expected]), strict=True):
        assert not isinstance(found, Refusal)
        assert found["masks"].shape == (1, PATHS * one.inputs["candidates"].size)
        assert golden.compare(one.outputs, found, 0.0).ok


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (request(1, -2), "input 'candidates': -2 is negative; send 0 or more"),
        (request(*range(20_001)), "20001 elements, more than the 20000"),
        (request(1) | {"user_id": np.array([[1], [2]])}, "input 'user_id' has batch size 2"),
        ({"user_id": np.array([[1]]), "candidates": np.array([[1]])}, "input 'request_key' is missing"),
    ],
)
def test_a_wrong_request_is_refused_alone(step: SamplerStep, wrong: dict[str, np.ndarray], message: str) -> None:
    right = request(3, 4, 5)
    before, refused, after = step.answer([right, wrong, right])
    assert isinstance(refused, Refusal)
    assert refused.status == "INVALID_ARG"
    assert message in refused.reason
    alone = step.answer([right])[0]
    for one in (before, after):
        assert isinstance(one, dict)
        assert isinstance(alone, dict)
        np.testing.assert_array_equal(one["masks"], alone["masks"])


def test_any_user_whom_nobody_knows_has_the_same_paths(step: SamplerStep) -> None:
    first, *others = step.answer([request(3, 4, 5, user=user) for user in (2**40, -1, -(2**63), 2**63 - 1)])
    assert isinstance(first, dict)
    for one in others:
        assert isinstance(one, dict)
        assert all(np.array_equal(one[name], first[name]) for name in first)


def test_a_version_without_its_counts_is_refused(repository: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(repository / SAMPLER, tmp_path / SAMPLER)) / "1"
    (broken / FREQUENCIES_FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match=r"frequencies\.safetensors holds no frequencies"):
        SamplerStep(Unhosted(), broken)


def test_the_published_release_has_no_findings(repository: Path) -> None:
    assert [one for one in check(repository, cores=8) if CHAINED not in one.file] == []


@pytest.mark.triton_server
@pytest.mark.parametrize("model", [SAMPLER, SCORER, ENSEMBLE])
def test_the_server_answers_every_golden_request(client: Admin, repository: Path, model: str) -> None:
    for one in goldens(repository, model):
        assert_answers(client, model, one)


@pytest.mark.triton_server
def test_requests_of_unlike_length_share_executions_and_keep_their_paths(client: Admin, repository: Path) -> None:
    asked = goldens(repository, ENSEMBLE) * 10

    def ask() -> int:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda one: assert_answers(client, ENSEMBLE, one), asked))
        return len(asked)

    for model in (SAMPLER, SCORER):
        assert shared(client, model, ask), f"no two requests shared an execution of {model}"


@pytest.mark.triton_server
def test_another_request_key_gets_other_paths(client: Admin) -> None:
    candidates = range(1, 60)
    masks = [client.infer(SAMPLER, request(*candidates, key=key))["masks"] for key in (1, 2, 1)]
    np.testing.assert_array_equal(masks[0], masks[2])
    assert (masks[0] != masks[1]).mean() > 0.3


@pytest.mark.triton_server
def test_a_wrong_request_gets_its_reason_from_the_server(client: Admin) -> None:
    with pytest.raises(InvalidRequest, match="-2 is negative; send 0 or more"):
        client.infer(ENSEMBLE, request(1, -2))


@pytest.mark.triton_server
@pytest.mark.parametrize(("name", "each"), [("masks", PATHS), ("weights", PATHS + 1)])
def test_paths_that_are_not_those_of_the_candidates_are_refused_by_the_server(
    client: Admin, repository: Path, name: str, each: int
) -> None:
    one = next(one.inputs for one in goldens(repository, SCORER) if one.inputs["candidates"].size > 1)
    number = one["candidates"].size
    for wrong in (one[name][:, :-1], np.repeat(one[name], 2, axis=1), one[name][:, :0]):
        said = f"'{name}' has {wrong.size} elements, input 'candidates' has {number}; send {each} for each of 'candid"
        with pytest.raises(InvalidRequest, match=said):
            client.infer(SCORER, one | {name: wrong})


@pytest.mark.triton_server
def test_a_restarted_server_and_an_ensemble_in_one_process_answer_the_same(repository: Path) -> None:
    with TritonServer(repository, ServerOptions()) as server, server.client() as client:
        for model in (SAMPLER, ENSEMBLE):
            for one in goldens(repository, model)[:6]:
                assert_answers(client, model, one)
