"""The step that reads a user's rows: its file, its answers, and an ensemble of it through a running tritonserver."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from export.artifacts import Source
from export.lint import check
from export.parity import ParityOptions, walk
from export.repository import publish
from serving import golden
from serving.backends.fused.chain import open_chain
from serving.mapped import mapped
from serving.server import ServerOptions, TritonServer
from serving.steps.step import Refusal
from serving.steps.user_rows import KEYS, ROWS_FILE, RowsStep
from tests.serving.row_models import ITEMS, NAME, ROWS, SHARES, USERS, release
from tests.serving.unhosted import Unhosted

ENDS = (-(2**63), 2**63 - 1)
"""The ends of int64, which no user has here."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "repository"
    publish(folder, release(), Source(kind="factory", name="tests.serving.row_models:release"))
    return folder


@pytest.fixture(scope="module")
def step(repository: Path) -> RowsStep:
    return RowsStep(Unhosted(), repository / f"{NAME}_history" / "1")


def request(user: int, candidates: Sequence[int] = (1,)) -> dict[str, np.ndarray]:
    return {"user_id": np.array([[user]]), "candidates": np.array([candidates], np.int64)}


def test_each_user_of_a_batch_reads_the_own_rows_and_an_unknown_one_zeros(step: RowsStep) -> None:
    users = [*USERS.tolist(), 0, 5, *ENDS, 3]
    for user, found in zip(users, step.answer([request(user) for user in users]), strict=True):
        assert not isinstance(found, Refusal)
        places = np.flatnonzero(USERS == user)
        expected = {"items": ITEMS[places], "shares": SHARES[places]} if len(places) else {}
        for name, array in found.items():
            assert array.dtype == ROWS[name].dtype
            np.testing.assert_array_equal(array, expected.get(name, np.zeros((1, *ROWS[name].shape[1:]))))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (request(3, [1, -2]), "input 'candidates': -2 is negative; send 0 or more"),
        (request(3, [1] * 20_001), "more than the 20000 that one request may carry"),
        ({"user_id": np.array([[3]], np.int32), "candidates": np.array([[1]])}, "input 'user_id' is int32"),
        ({"candidates": np.array([[1]])}, "input 'user_id' is missing"),
    ],
)
def test_a_wrong_request_is_refused_alone(step: RowsStep, wrong: dict[str, np.ndarray], message: str) -> None:
    first, refused, last = step.answer([request(3), wrong, request(4)])
    assert isinstance(refused, Refusal)
    assert message in refused.reason
    assert not isinstance(first, Refusal)
    assert not isinstance(last, Refusal)
    np.testing.assert_array_equal(last["items"], ITEMS[3:4])


def test_rows_lie_in_the_file_and_not_in_the_process(repository: Path) -> None:
    arrays = mapped(repository / f"{NAME}_history" / "1" / ROWS_FILE, "rows")
    assert {name: array.dtype for name, array in arrays.items()} == {
        KEYS: np.int64,
        "items": np.int64,
        "shares": np.float32,
    }
    assert not any(array.flags.owndata or array.flags.writeable for array in arrays.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: {**rows, KEYS: rows[KEYS][::-1].copy()}, "not user ids in strictly ascending order"),
        (lambda rows: {name: array for name, array in rows.items() if name != "shares"}, r"has no \['shares'\]"),
        (lambda rows: {**rows, "items": rows["items"][:-1].copy()}, "items is int64 with 5 rows, not int64 with 6"),
        (lambda rows: {**rows, "items": rows["items"].astype(np.int32)}, "items is int32"),
    ],
)
def test_a_file_of_another_model_is_refused_when_it_is_opened(
    repository: Path, tmp_path: Path, change, message: str
) -> None:
    folder = Path(shutil.copytree(repository / f"{NAME}_history", tmp_path / f"{NAME}_history")) / "1"
    save_file(change({KEYS: USERS, **ROWS}), folder / ROWS_FILE)
    with pytest.raises(ValueError, match=f"{ROWS_FILE}.* ?{message}"):
        RowsStep(Unhosted(), folder)


def test_a_file_that_was_cut_short_is_refused_when_it_is_opened(repository: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(repository / f"{NAME}_history", tmp_path / f"{NAME}_history")) / "1"
    content = (folder / ROWS_FILE).read_bytes()
    for size in (0, 5, 100, len(content) - 1):
        (folder / ROWS_FILE).write_bytes(content[:size])
        with pytest.raises(ValueError, match=f"{ROWS_FILE} holds no rows .*: export the model again"):
            RowsStep(Unhosted(), folder)


def test_the_chain_in_this_process_answers_every_golden(repository: Path) -> None:
    chain = open_chain(Unhosted(), repository / NAME, "1")
    goldens = golden.read(repository / NAME / "1" / "golden.safetensors")
    assert {int(one.inputs["user_id"][0, 0]) for one in goldens} >= set(ENDS)
    for one, found in zip(goldens, chain.answer([one.inputs for one in goldens]), strict=True):
        assert isinstance(found, dict)
        assert golden.compare(one.outputs, found, 1e-5).ok


@pytest.mark.triton_server
@pytest.mark.slow
def test_the_release_passes_the_ladder_and_the_linter_and_serves_users_at_both_ends(
    repository: Path, tmp_path: Path
) -> None:
    assert [finding for finding in check(repository) if finding.severity == "error"] == []
    ladder = walk(repository, ParityOptions(requests=64, clients=8))
    assert ladder.ok, ladder.rows
    assert {(row.model, row.rung) for row in ladder.rows} > {
        (f"{NAME}_history", "served"),
        (NAME, "served"),
        (NAME, "concurrent"),
    }
    options = ServerOptions(state=tmp_path / "state", log=tmp_path / "log")
    with TritonServer(repository, options) as server, server.client() as client:
        for user in ENDS:
            assert client.infer(NAME, request(user, [3, 14]))["scores"].tolist() == [[0.0, 0.0]]
        known = client.infer(NAME, request(3, [9, 14]))["scores"]
        np.testing.assert_allclose(known, [[1 + 9 * SHARES[2, 0], 4 * SHARES[2, 0]]])
