"""No call is ever cut short, whatever the caller's deadline says."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from serving import calls
from serving.calls import messages
from serving.client import Client
from serving.errors import DeadlineExceeded, InvalidRequest, ServerUnavailable
from serving.server import TritonServer

X = np.array([[1.0, -2.0, 0.5]], np.float32)


class Witness(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A gRPC server that sees what a call brings along, and how it ends."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.deadlines: list[float | None] = []
        self.ended: list[bool] = []

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        self.deadlines.append(context.time_remaining())
        self.go_on.wait(30.0)
        # False once the client has cancelled the call, or its connection is gone.
        self.ended.append(context.is_active())
        return messages.ServerReadyResponse(ready=True)


@pytest.fixture
def witness() -> Iterator[tuple[Witness, str]]:
    server, servicer = grpc.server(ThreadPoolExecutor(4)), Witness()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    servicer.go_on.set()
    server.stop(None).wait()


def ready(client: Client, deadline_s: float) -> None:
    client._call("ServerReady", messages.ServerReadyRequest(), deadline_s)


def test_a_deadline_stays_with_the_caller_and_the_call_runs_to_its_end(witness: tuple[Witness, str]) -> None:
    servicer, url = witness
    client = Client(url)
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.2 s"):
        ready(client, 0.2)
    closing = threading.Thread(target=client.close)
    closing.start()
    time.sleep(0.1)
    assert closing.is_alive(), "closing waits for the call under way"
    servicer.go_on.set()
    closing.join(10.0)
    assert not closing.is_alive()
    assert servicer.ended == [True]
    # gRPC says the end of time, or nothing, where no deadline came along.
    assert all(seconds is None or seconds > 1e6 for seconds in servicer.deadlines)


def test_a_client_that_nobody_holds_any_more_does_not_cut_its_calls_short(witness: tuple[Witness, str]) -> None:
    servicer, url = witness
    with pytest.raises(DeadlineExceeded):
        ready(Client(url), 0.1)
    servicer.go_on.set()
    deadline = time.monotonic() + 10.0
    while not servicer.ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert servicer.ended == [True]


def test_the_end_of_the_program_waits_for_calls_under_way(witness: tuple[Witness, str]) -> None:
    servicer, url = witness
    code = (
        "import sys; from serving.client import Client; client = Client(sys.argv[1], deadline_s=0.3)\n"
        "try: client.server_ready()\n"
        "finally: print('ends', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ends\n"
        time.sleep(0.2)
        assert process.poll() is None
        servicer.go_on.set()
        assert process.wait(20.0) == 0
    assert servicer.ended == [True]


def test_calls_past_their_deadline_are_bounded(witness: tuple[Witness, str], monkeypatch: pytest.MonkeyPatch) -> None:
    servicer, url = witness
    monkeypatch.setattr(calls, "MAX_OVERDUE", 3)
    with Client(url) as client:
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                ready(client, 0.05)
        with pytest.raises(ServerUnavailable, match="passed their deadline and are still under way"):
            ready(client, 0.05)
        servicer.go_on.set()
        deadline = time.monotonic() + 10.0
        while len(servicer.ended) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client._calls.settle(10.0)
        ready(client, 10.0)


@pytest.mark.parametrize("deadline_s", [-1.0, float("nan"), float("inf")])
def test_a_deadline_that_is_none_is_refused(deadline_s: float) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidRequest, match="deadline_s is"):
        client.infer("any", {"x": X}, deadline_s=deadline_s)


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
