"""A graph that ends the server, as the server is its process: it comes back, and who did it three times is refused."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from loadtest.served import until
from recserve_client.errors import InvalidRequest
from serving import crashes, readiness
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from serving.supervisor import Policy, Supervisor
from tests.serving import models
from tests.serving.native import graphs
from tests.serving.native.asking import Reply, ask

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(20)]
NOTHING, SOMETHING = np.zeros((1, 0), np.float32), np.ones((1, 3), np.float32)


@pytest.fixture
def kept_up(library: Path, tmp_path: Path) -> Iterator[tuple[TritonServer, Supervisor, list[str]]]:
    """A server of a good model and one that aborts at length 0, who keeps it up, and what that one says."""
    models.publish_scaled(tmp_path / "repository")
    graphs.publish_aborting(tmp_path / "repository")
    options = ServerOptions(log=tmp_path / "log", state=tmp_path / "state", backend="native", check_golden=False)
    said: list[str] = []
    with TritonServer(tmp_path / "repository", options) as server:
        yield server, Supervisor(server, Policy(first_pause_s=0.01), threading.Event(), said.append), said


def reply(server: TritonServer, model: str, x: np.ndarray) -> Reply:
    """Of a client that comes anew, as each restart ends the connections."""
    client = triton.InferenceServerClient(server.url)
    try:
        return ask(client, model, {"x": x})
    finally:
        client.close()


def is_computing(server: TritonServer, model: str) -> bool:
    """Whether a record of a model has a length, which is its second number."""
    assert server.crashes is not None
    records = Path(server.crashes.environment[crashes.VARIABLE]).glob(f"{model}.1.*.flight")
    return any(any(record.read_bytes()[4:8]) for record in records)


def test_a_server_that_a_request_ends_comes_back_and_the_third_time_refuses_it(
    kept_up: tuple[TritonServer, Supervisor, list[str]],
) -> None:
    server, supervisor, said = kept_up
    right = reply(server, "recurrent", SOMETHING)
    assert not right.status
    for restarts in (1, 2, 3):
        assert reply(server, "recurrent", NOTHING).status == "StatusCode.UNAVAILABLE"
        server.process.wait(30)
        supervisor.tend()
        assert server.restarts == restarts
        assert reply(server, "recurrent", SOMETHING) == right
        assert not reply(server, "scaled", SOMETHING).status
    refused = reply(server, "recurrent", NOTHING)
    assert refused.status == "StatusCode.INVALID_ARGUMENT"
    assert refused.text.startswith(
        "recurrent: requests of this shape, x [1, 0], ended the server 3 times and are refused"
    )
    assert crashes.REFUSED in refused.text
    assert server.process.poll() is None
    assert reply(server, "recurrent", SOMETHING) == right
    assert [line.split("; ")[3:] for line in said] == [[], [], ["refused from now on: recurrent.1 x [1, 0]"]]


class Refusing:
    """A client of a server that refuses whatever it is asked."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def infer(self, *_: object, **__: object) -> dict[str, np.ndarray]:
        """No answer."""
        raise InvalidRequest(self._reason)


def test_a_golden_request_that_is_refused_for_that_keeps_nobody_from_being_served(tmp_path: Path) -> None:
    models.publish_scaled(tmp_path)
    ended: Any = Refusing(f"scaled: requests of this shape, x [1, 3], ended the server 3 times {crashes.REFUSED}")
    readiness.check_goldens(ended, tmp_path, "cpu")
    wrong: Any = Refusing("scaled: input 'x' holds NaN")
    with pytest.raises(StartupError, match="golden request 0 failed"):
        readiness.check_goldens(wrong, tmp_path, "cpu")


@pytest.mark.long
def test_who_is_computed_beside_it_is_not_refused(kept_up: tuple[TritonServer, Supervisor, list[str]]) -> None:
    """Two requests that may share a run end the server: neither shape is known to be the one until it did so alone."""
    server, supervisor, _ = kept_up
    client = triton.InferenceServerClient(server.url)
    both = [threading.Thread(target=ask, args=(client, "recurrent", {"x": x})) for x in (NOTHING, SOMETHING)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    client.close()
    for _ in range(4):
        if reply(server, "recurrent", NOTHING).status == "StatusCode.INVALID_ARGUMENT":
            break
        server.process.wait(30)
        supervisor.tend()
        assert not reply(server, "recurrent", SOMETHING).status
    assert server.crashes is not None
    assert server.crashes.refused == ["recurrent.1 x [1, 0]"]


@pytest.mark.long
def test_a_fault_of_the_servers_own_is_laid_to_no_request(library: Path, tmp_path: Path) -> None:
    """Three times while the same request is computed: it is answered the fourth time, alone, and is no suspect then."""
    models.publish_slow(tmp_path / "repository")
    options = ServerOptions(log=tmp_path / "log", state=tmp_path / "state", backend="native", check_golden=False)
    steps = {"steps": np.array([[3_000_000]])}
    with TritonServer(tmp_path / "repository", options) as server:
        supervisor = Supervisor(server, Policy(first_pause_s=0.01), threading.Event())
        for _ in range(3):
            client = triton.InferenceServerClient(server.url)
            asking = threading.Thread(target=ask, args=(client, "slow", steps))
            asking.start()
            until(lambda: is_computing(server, "slow"))
            os.kill(server.process.pid, signal.SIGSEGV)
            server.process.wait(30)
            asking.join()
            client.close()
            supervisor.tend()
        assert server.restarts == 3
        assert server.crashes is not None
        (record,) = Path(server.crashes.environment[crashes.VARIABLE]).glob("*.crashes")
        assert record.read_text() == "0 steps [1, 1]\n"
        client = triton.InferenceServerClient(server.url)
        assert ask(client, "slow", {"steps": np.array([[3]])}).array("total")[0, 0] == 3
        client.close()
        assert record.read_text() == ""
