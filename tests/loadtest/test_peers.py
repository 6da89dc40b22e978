"""The peers serve the same answers, and the comparison counts right."""

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from export.kernel_form import save_kernel_form
from export.kinds import kernel_forms
from loadtest.failure import MeasurementError
from loadtest.peers import environments, h2load
from loadtest.peers.compare import compare, highest, ratios, row
from loadtest.peers.environments import PEERS, EnvironmentFailure
from loadtest.peers.launch import Running, StartFailure, running
from loadtest.peers.plan import NATIVE, SERVERS, Plan, Visit
from loadtest.peers.scorer import onnx_scorer
from loadtest.peers.transports import TRANSPORTS
from loadtest.transports import OURS, transport
from recserve_client.errors import ServingError
from serving import golden
from serving.backends.recserve.program import PROGRAM_FILE
from serving.direct import DirectModel
from tests.conftest import lrea

MODEL = "lrea_scorer"
HERE = Path(sys.executable)
# Asked before a fixture moves the cache.
MADE = {name: environments.python(name) for name in PEERS if environments.is_made(name)}


@pytest.fixture(scope="module")
def onnx(repository: Path) -> Path:
    return repository / MODEL / "1" / "model.onnx"


@pytest.fixture(scope="module")
def program(onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same scorer in torch: its kernel form, with the same golden requests."""
    folder = tmp_path_factory.mktemp("program") / MODEL / "1"
    folder.mkdir(parents=True)
    form = next(form for form in kernel_forms(lrea()) if form.form_of == MODEL)
    save_kernel_form(form, folder / PROGRAM_FILE)
    return Path(shutil.copy(onnx.with_name("golden.safetensors"), folder)).with_name(PROGRAM_FILE)


@pytest.fixture(scope="module")
def requests(repository: Path) -> list[dict[str, np.ndarray]]:
    """Ragged, one of them empty."""
    return [one.inputs for one in golden.read(repository / MODEL / "1" / "golden.safetensors")]


@pytest.fixture(scope="module")
def expected(repository: Path, requests: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    direct = DirectModel.open(repository / MODEL)
    return [direct.run([request])[0]["scores"] for request in requests]


@pytest.fixture(scope="module", params=["grpcio", "grpcio-batched", "torch-eager"])
def plain(onnx: Path, program: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Running]]:
    """Needs no other packages than this project's."""
    with running(request.param, program if PEERS[request.param].is_torch else onnx, (0,), HERE) as one:
        yield PEERS[request.param].transport, one


def test_the_scorer_packs_as_the_backend_does(
    onnx: Path, requests: list[dict[str, np.ndarray]], expected: list[np.ndarray]
) -> None:
    for answer, scores in zip(onnx_scorer(onnx).score(requests), expected, strict=True):
        np.testing.assert_allclose(answer, scores, atol=1e-5)


def test_a_plain_server_answers_as_onnxruntime_does(
    plain: tuple[str, Running], requests: list[dict[str, np.ndarray]], expected: list[np.ndarray]
) -> None:
    _same_answers(plain[0], plain[1].url, requests, expected)


def test_requests_at_once_get_their_own_answers(
    plain: tuple[str, Running], requests: list[dict[str, np.ndarray]], expected: list[np.ndarray]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _same_answers(plain[0], plain[1].url, requests, expected), range(8)))


def test_a_request_that_is_wrong_raises(plain: tuple[str, Running], requests: list[dict[str, np.ndarray]]) -> None:
    connection = transport(plain[0])(plain[1].url)
    with pytest.raises(ServingError):
        connection.infer(MODEL, {"candidates": requests[0]["candidates"]})
    connection.close()


def test_the_server_runs_on_the_cores_that_were_named(plain: tuple[str, Running]) -> None:
    assert psutil.Process(plain[1].process.pid).cpu_affinity() == [0]


def test_nothing_is_left_of_a_stopped_server(onnx: Path) -> None:
    with running("grpcio", onnx, (0,), HERE) as one:
        pass
    assert one.process.poll() is not None
    assert not psutil.pid_exists(one.process.pid)


def test_a_server_that_does_not_come_up_shows_its_log(onnx: Path) -> None:
    with pytest.raises(StartFailure, match="No module named 'mlserver'"), running("mlserver", onnx, (0,), HERE):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "torch-compiled")) for name in PEERS]
)
def test_every_peer_answers_as_onnxruntime_does(
    name: str, onnx: Path, program: Path, requests: list[dict[str, np.ndarray]], expected: list[np.ndarray]
) -> None:
    if name not in MADE:
        pytest.skip(f"its environment is not made: python -m loadtest.peers.environments {name}")
    with running(name, program if PEERS[name].is_torch else onnx, (0,), MADE[name]) as one:
        below = psutil.Process(one.process.pid).children(recursive=True)
        _same_answers(PEERS[name].transport, one.url, requests, expected)
    assert not [each for each in below if each.is_running()]


def test_all_peers_are_registered_with_a_transport_and_pinned_requirements() -> None:
    in_torch = ["torch-compiled", "torch-eager"]
    assert list(PEERS) == ["bentoml", "grpcio", "grpcio-batched", "litserve", "mlserver", *in_torch]
    assert {peer.transport for peer in PEERS.values()} == set(TRANSPORTS)
    assert [name for name, peer in PEERS.items() if peer.is_torch] == in_torch
    for name, peer in PEERS.items():
        if peer.is_torch:
            continue
        pinned = environments.versions(name)
        assert {"onnxruntime", "numpy", peer.environment} <= set(pinned)
        assert "torch" not in pinned


def test_all_peers_run_the_same_onnxruntime() -> None:
    assert len({environments.versions(name)["onnxruntime"] for name, peer in PEERS.items() if not peer.is_torch}) == 1


def test_a_peer_in_torch_needs_the_release_s_program(repository: Path) -> None:
    with pytest.raises(
        ValueError, match=r"has no lrea_scorer_kernel: export the run with --kernel-form, or name other"
    ):
        compare(repository, Plan(servers=(OURS, "torch-eager")))


def test_an_unknown_peer_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'torchserve' is unknown; use one of"):
        environments.peer("torchserve")


def test_an_environment_that_cannot_be_made_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grpcio").mkdir()
    (tmp_path / "grpcio" / "requirements.txt").write_text("./no-such-directory\n")
    monkeypatch.setattr(environments, "_FOLDER", tmp_path)
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(EnvironmentFailure, match="no-such-directory"):
        environments.make("grpcio")
    assert not environments.is_made("grpcio")


def _visit(throughput: float, cpu_seconds: float, p50: float) -> Visit:
    closed = {8: {"p50_ms": p50, "p95_ms": 2 * p50, "p99_ms": 3 * p50}}
    return Visit(throughput, cpu_seconds, closed, wrong=0, errors=1, late=False)


def test_a_row_holds_medians_and_the_lowest_and_highest() -> None:
    one = row("grpcio", [_visit(300.0, 0.9, 1.0), _visit(100.0, 0.7, 3.0), _visit(200.0, 0.8, 2.0)])
    assert one["throughput_at_p99"] == 200.0
    assert one["throughput_spread"] == [100.0, 300.0]
    assert one["cpu_seconds_per_1000"] == 0.8
    assert one["cpu_spread"] == [0.7, 0.9]
    assert (one["p50_ms_8"], one["p95_ms_8"], one["p99_ms_8"]) == (2.0, 4.0, 6.0)
    assert (one["wrong"], one["errors"]) == (0, 3)


def test_a_server_that_keeps_the_budget_at_no_rate_has_a_throughput_of_0() -> None:
    slow, fast = ({"rate": rate, "p99_ms": p99, "ok": 1, "requests": 1} for rate, p99 in ((900.0, 30.0), (500.0, 3.0)))
    assert highest([0.0], [slow], 20.0) == 0.0
    assert highest([0.0], [slow, fast], 20.0) == 500.0
    assert highest([700.0], [slow, fast], 20.0) == 700.0


def test_ratios_are_taken_within_a_repetition() -> None:
    ours = [_visit(400.0, 0.5, 1.0), _visit(200.0, 1.0, 1.0)]
    theirs = [_visit(200.0, 1.0, 1.0), _visit(50.0, 4.0, 1.0)]
    found = ratios({OURS: ours, "grpcio": theirs}, OURS)
    assert found == {
        "grpcio": {
            "throughput": {"median": 3.0, "spread": [2.0, 4.0]},
            "cpu": {"median": 0.375, "spread": [0.25, 0.5]},
        }
    }


def test_our_server_is_compared_with_every_peer() -> None:
    assert SERVERS == (OURS, NATIVE, *PEERS)


@pytest.mark.slow
@pytest.mark.triton_server
@pytest.mark.long
def test_a_comparison_has_a_row_for_each_server(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "make", lambda _: HERE)
    plan = Plan(servers=(OURS, "grpcio"), repetitions=1, users=(2,), seconds=1.0, warm_up=0.5, sweep_steps=1)
    result = compare(repository, plan)
    assert [one["server"] for one in result["rows"]] == [OURS, "grpcio"]
    assert [one["wrong"] for one in result["rows"]] == [0, 0]
    assert all(one["cpu_seconds_per_1000"] > 0 and one["p50_ms_2"] > 0 for one in result["rows"])
    assert len(result["pinning"]["server"]) == 1
    assert result["ratios"][OURS]["grpcio"]["cpu"]["median"] > 0


SAID = """finished in 2.00s, 1000.00 req/s, 500.00KB/s
requests: 2000 total, 2001 started, 2000 done, 1990 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 1990 2xx, 0 3xx, 0 4xx, 10 5xx
traffic: 1.00MB (1048576) total, 100.00KB (102400) headers (space savings 80.00%), 400.00KB (400000) data
"""


def test_what_h2load_says_is_understood_and_what_is_failed_or_short_is_seen() -> None:
    log = "\n".join(f"170000000000{number}\t200\t{1000 * number}" for number in range(1, 101))
    found = h2load.measured(SAID, log)
    assert (found.rate, found.failed, found.bytes_each) == (995.0, 10, 200.0)
    assert found.percentiles["p50_ms"] == pytest.approx(50.5)
    assert found.like(found._replace(bytes_each=200.5), users=4)
    assert not found.like(found._replace(bytes_each=150.0), users=4)
    assert not found._replace(bytes_each=0.0).like(found._replace(bytes_each=0.0), users=4), "errors have no data"
    with pytest.raises(MeasurementError, match="not understood"):
        h2load.measured("usage: h2load", log)


def test_the_remedy_for_a_missing_h2load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="h2load is not on PATH; install nghttp2-client"):
        h2load.check()


def _same_answers(
    transport_name: str, url: str, requests: list[dict[str, np.ndarray]], expected: list[np.ndarray]
) -> None:
    connection = transport(transport_name)(url)
    try:
        for request, scores in zip(requests, expected, strict=True):
            answer = connection.infer(MODEL, request)
            assert answer.keys() == {"scores"}
            np.testing.assert_allclose(answer["scores"], scores, atol=1e-5)
    finally:
        connection.close()
