import re
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recserve_client import Client
from recserve_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelUnavailable,
    ServerUnavailable,
    ServingError,
    StaleState,
)
from recserve_client.statuses import MAX_MESSAGE_BYTES
from serving.admin import Admin
from serving.events.pushing import Pusher, Row
from serving.server import TritonServer
from tests.serving.patience import counted

pytestmark = pytest.mark.triton_server

X = np.array([[1.0, -2.0, 0.5]], np.float32)


def assert_still_answers(client: Admin) -> None:
    np.testing.assert_array_equal(client.infer("scaled", {"x": X})["y"], 2 * X + 1)


def test_a_request_comes_back_with_every_output(client: Admin) -> None:
    answer = client.infer("scaled", {"x": X})
    np.testing.assert_array_equal(answer["y"], 2 * X + 1)
    np.testing.assert_array_equal(answer["z"], -X)
    assert {array.dtype for array in answer.values()} == {np.dtype(np.float32)}


def test_a_version_can_be_named(client: Admin) -> None:
    assert client.infer("scaled", {"x": X}, version="1").keys() == {"y", "z"}
    with pytest.raises(ModelUnavailable, match="version 9 is not found"):
        client.infer("scaled", {"x": X}, version="9")


@pytest.mark.parametrize(
    ("model", "inputs", "error", "text"),
    [
        ("scaled", {"x": X.astype(np.float64)}, InvalidRequest, "input 'x' data-type is 'FP64'.*expects 'FP32'"),
        ("scaled", {"x": X[:, :2]}, InvalidRequest, r"unexpected shape for input 'x'.*got \[1,2\]"),
        ("scaled", {"x": X[0]}, InvalidRequest, "unexpected shape for input 'x'"),
        ("scaled", {"x": X.repeat(9, axis=0)}, InvalidRequest, "batch-size must be <= 8"),
        ("scaled", {}, InvalidRequest, r"missing required input\(s\) \['x'\]"),
        ("scaled", {"x": X, "w": X}, InvalidRequest, "expected 1 inputs but got 2"),
        ("scaled", {"x": np.array([[1j]])}, InvalidRequest, "input 'x' has dtype complex128"),
        ("no_such_model", {"x": X}, ModelUnavailable, "'no_such_model' is not found"),
        ("scorer", {"candidates": np.array([[-1]])}, InvalidRequest, r"missing required input\(s\) \['weight'\]"),
    ],
)
def test_a_wrong_request_is_refused_with_a_reason_and_the_server_goes_on(
    client: Admin, model: str, inputs: dict[str, np.ndarray], error: type[ServingError], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.infer(model, inputs)
    assert_still_answers(client)


@pytest.mark.parametrize(
    ("candidates", "text"),
    [
        ([[-1]], "scorer: input 'candidates': -1 is negative; send 0 or more"),
        ([[5, 1000]], "scorer: input 'candidates': 1000 is above 999; send 999 or less"),
        ([[1] * 101], "has 101 elements, more than the 100 that one request may carry; shorten it, or split it"),
        ([[1] * 1_000_000], "has 1000000 elements, more than the 100 that one request may carry; shorten it, or"),
        ([[1], [2]], "has batch size 2; this model takes requests of unlike length"),
    ],
)
def test_a_request_outside_the_bounds_is_refused_by_field_and_value(
    client: Admin, candidates: list[list[int]], text: str
) -> None:
    inputs = {"candidates": np.array(candidates), "weight": np.ones((len(candidates), 1), np.float32)}
    with pytest.raises(InvalidRequest, match=re.escape(text)):
        client.infer("scorer", inputs)
    assert_still_answers(client)


def test_a_message_that_is_too_large_is_refused_before_it_is_sent(client: Admin) -> None:
    rows = MAX_MESSAGE_BYTES // X.nbytes + 1
    with pytest.raises(InvalidRequest, match=r"larger than max .*send fewer rows"):
        client.infer("scaled", {"x": np.zeros((rows, 3), np.float32)})


def test_an_answer_that_is_not_a_number_is_never_returned(client: Admin) -> None:
    with pytest.raises(StaleState, match=r"scaled: output 'y' holds NaN: .*recserve state build"):
        client.infer("scaled", {"x": np.array([[0.0, np.nan, 0.0]], np.float32)})


def test_a_deadline_ends_the_wait_and_the_server_goes_on(client: Admin) -> None:
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.05 s"):
        client.infer("slow", {"steps": np.array([[500_000]])}, deadline_s=0.05)
    assert client.infer("slow", {"steps": np.array([[2]])})["total"] == 2


def test_nobody_at_the_address_is_an_error_that_says_how_to_start_a_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with Admin(f"127.0.0.1:{unused.getsockname()[1]}") as client:
            with pytest.raises(ServerUnavailable, match="recserve serve"):
                client.infer("scaled", {"x": X})
            assert not client.server_ready()


def test_a_closed_client_says_so(server: TritonServer) -> None:
    client = Admin(server.url)
    client.close()
    with pytest.raises(ServerUnavailable, match="make a new Client"):
        client.infer("scaled", {"x": X})


def test_a_push_to_a_server_that_takes_no_events_says_what_makes_it_take_them(client: Admin) -> None:
    said: list[str] = []
    pusher = Pusher(client, "shop", patience_s=0.01, waiting=said.append)
    with pytest.raises(ModelUnavailable, match="recserve events load shop --repository"):
        pusher.push([Row("anna", "mug", 1.0, 10, 0, "one")])


def test_the_server_describes_its_models(client: Admin) -> None:
    assert client.server_ready()
    assert client.model_ready("scorer")
    assert not client.model_ready("no_such_model")
    assert client.model_names() == ["counts", "lookup", "scaled", "scorer", "slow", "slow_ensemble"]
    metadata = client.metadata("scorer")
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in metadata.inputs] == [
        ("candidates", "INT64", (-1, -1)),
        ("weight", "FP32", (-1, 1)),
    ]
    assert client.config("scorer").batch_input[0].target_name == ["ends"]


def test_statistics_count_what_was_asked(client: Admin) -> None:
    before = client.statistics("scaled")
    client.infer("scaled", {"x": X.repeat(3, axis=0)})
    with pytest.raises(InvalidRequest):
        client.infer("scaled", {"x": X[:, :1]})
    after = counted(client, "scaled", before, 1)
    assert after.requests - before.requests == 3
    assert after.executions - before.executions == 1
    assert after.success - before.success == 1
    assert after.compute_infer_ns > before.compute_infer_ns


def test_model_control_needs_the_key_and_what_tools_ask_first_does_not(server: TritonServer) -> None:
    with Admin(server.url) as stranger:
        assert_still_answers(stranger)
        assert stranger.config("scaled").name == "scaled"
        assert stranger.statistics("scaled").requests > 0
        for call in (stranger.load, stranger.unload):
            with pytest.raises(InvalidRequest, match=r"restricted.*admin_key"):
                call("scaled")
        with pytest.raises(InvalidRequest, match=r"restricted.*admin_key"):
            stranger.model_names()
    with Admin(server.url, admin_key="wrong") as guesser, pytest.raises(InvalidRequest, match="restricted"):
        guesser.unload("scaled")


@pytest.mark.triton_server
def test_short_deadlines_and_early_closes_do_not_hurt_the_server(server: TritonServer) -> None:
    def impatient(number: int) -> int:
        missed = 0
        for round_ in range(60):
            with Client(server.url, deadline_s=0.001 * ((number + round_) % 3)) as client:
                for _ in range(5):
                    try:
                        client.infer("scaled", {"x": X})
                    except DeadlineExceeded:
                        missed += 1
        return missed

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(impatient, range(4))) > 0
    assert server.fault is None
    with server.client() as client:
        np.testing.assert_array_equal(client.infer("scaled", {"x": X}, deadline_s=30.0)["y"], 2 * X + 1)
