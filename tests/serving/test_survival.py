"""`recserve serve` keeps its server up, and leaves nothing behind however it ends itself."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from loadtest.served import Served, alive, children, command, freeze_for, until
from recserve_client import Client
from recserve_client.errors import ServingError
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from serving.supervisor import Policy, Supervisor
from serving.watchdog import served_model
from tests.serving import models

pytestmark = [pytest.mark.triton_server, pytest.mark.slow]

X = np.array([[1.0, -2.0, 0.5]], np.float32)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survival") / "repository"
    models.publish_scaled(folder)
    return folder


@pytest.fixture(scope="module")
def serve(repository: Path) -> Iterator[Served]:
    with Served(repository) as process:
        yield process


def stubs(server: TritonServer) -> list[int]:
    """Those of a server that may not run yet."""
    with suppress(RuntimeError):
        return [child for child in children(server.process.pid) if served_model(child)]
    return []


def test_a_stub_that_is_killed_while_it_loads_ends_the_start_and_no_later_one(repository: Path, tmp_path: Path) -> None:
    """tritonserver 2.51 would wait for it for good."""
    server = TritonServer(repository, ServerOptions(log=tmp_path / "log", state=tmp_path / "state"))
    with ThreadPoolExecutor(1) as executor:
        starting = executor.submit(server.start)
        until(lambda: stubs(server))
        os.kill(stubs(server)[0], signal.SIGKILL)
        with pytest.raises(StartupError, match=r"died, so its model cannot answer|did not come up"):
            starting.result()
    server.start()
    server.stop()


FAULTS: dict[str, tuple[Callable[[Served], None], str]] = {
    "crash": (lambda s: os.kill(s.server, signal.SIGSEGV), "tritonserver ended"),
    "kill -9": (lambda s: os.kill(s.server, signal.SIGKILL), "tritonserver ended by signal SIGKILL"),
    "dead stub": (lambda s: os.kill(s.stub("scaled"), signal.SIGKILL), "of 'scaled' died, so its model cannot answer"),
    "frozen stub": (lambda s: os.kill(s.stub("scaled"), signal.SIGSTOP), "of 'scaled' is frozen"),
    "stub frozen for 2 s": (lambda s: freeze_for(s.stub("scaled"), 2.0), "is frozen"),
    "frozen server": (lambda s: os.kill(s.server, signal.SIGSTOP), "tritonserver is frozen"),
    "server frozen for 2 s": (lambda s: freeze_for(s.server, 2.0), "tritonserver is frozen"),
}


def guardians(serve: Served) -> list[int]:
    return [child for child in children(serve.process.pid) if "recserve-guardian" in command(child)]


class Asking:
    """A client that asks without a break, and counts."""

    def __init__(self, url: str, *, heeds_readiness: bool = False) -> None:
        self.right = self.wrong = 0
        self.errors: list[str] = []
        self._url = url
        self._heeds = heeds_readiness
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with Client(self._url, deadline_s=30.0, retries=0) as client:
            while not self._stop.is_set():
                if self._heeds and not client.server_ready():
                    return
                try:
                    answer = client.infer("scaled", {"x": X})["y"]
                except ServingError as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                    time.sleep(0.02)
                else:
                    self.right += bool((answer == 2 * X + 1).all())
                    self.wrong += bool((answer != 2 * X + 1).any())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_falls_is_ready_again_by_itself_and_never_answers_wrongly(serve: Served, fault: str) -> None:
    what, reason = FAULTS[fault]
    url, before, server = serve.address.url, serve.restarts, serve.server
    clients = [Asking(url) for _ in range(2)]
    until(lambda: all(client.right for client in clients))
    what(serve)
    serve.says(f"restart {before + 1}: ready again after")
    counted = [client.right for client in clients]
    until(lambda: all(client.right > count for client, count in zip(clients, counted, strict=True)))
    for client in clients:
        client.stop()
    assert not any(client.wrong for client in clients)
    assert {error.partition(":")[0] for client in clients for error in client.errors} <= {
        "ServerUnavailable",
        "ModelUnavailable",
    }
    assert reason in serve.said.splitlines()[-1]
    assert serve.restarts == before + 1
    assert not alive(server)


def test_the_server_dies_with_the_one_who_started_it_and_leaves_no_shared_memory(repository: Path) -> None:
    with Served(repository) as serve:
        url = serve.address.url
        guardian = next(one for one in children(serve.process.pid) if "recserve-guardian" in command(one))
        os.kill(guardian, signal.SIGKILL)
        until(
            lambda: any("recserve-guardian" in command(one) for one in children(serve.process.pid) if one != guardian)
        )
        processes = serve.processes
        assert len(processes) > 1
        assert serve.memory
        serve.process.kill()
        until(lambda: not any(map(alive, processes)))
        until(lambda: not serve.memory)
    with Served(repository, "--grpc-port", url.rpartition(":")[2]) as again:
        assert again.address.url == url
        assert again.ends(signal.SIGHUP) == 0, "the terminal was closed"
        assert not again.memory


def test_restarts_are_bounded(repository: Path) -> None:
    with Served(repository, "--max-restarts", 1) as serve:
        assert serve.address
        os.kill(serve.server, signal.SIGKILL)
        serve.says("restart 1: ready again")
        os.kill(serve.server, signal.SIGKILL)
        assert serve.ends() == 1
        assert "error: 1 restarts within 10 minutes; the last: tritonserver ended by signal SIGKILL" in serve.said
        assert not serve.memory


def test_what_does_not_come_up_again_is_given_up(repository: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(repository, tmp_path / "repository"))
    said: list[str] = []
    with TritonServer(broken) as server:
        supervisor = Supervisor(server, Policy(first_pause_s=1e-3), threading.Event(), said.append)
        supervisor.tend()
        (broken / "scaled" / "1" / "model.onnx").write_bytes(b"nothing")
        server.process.kill()
        server.process.wait()
        with pytest.raises(StartupError, match=r"10 restarts in a row failed; the last: .*model\.onnx is not what was"):
            supervisor.tend()
    assert [line.partition(" failed: ")[0] for line in said] == [f"restart {number}" for number in range(1, 11)]


def test_a_drained_server_fails_no_request_of_a_client_that_heeds_readiness(repository: Path) -> None:
    with Served(repository, "--drain-s", 3) as serve:
        url = serve.address.url
        polite = [Asking(url, heeds_readiness=True) for _ in range(3)]
        stubborn = Asking(url)
        until(lambda: all(client.right for client in (*polite, stubborn)))
        serve.process.send_signal(signal.SIGTERM)
        serve.says("not ready; stops in 3 s")
        for client in polite:
            client.stop()
        assert not stubborn.errors, "it goes on answering"
        assert serve.ends() == 0
        until(lambda: stubborn.errors)
        stubborn.stop()
        assert not any(client.errors or client.wrong for client in polite)
        assert not stubborn.wrong
        assert {error.partition(":")[0] for error in stubborn.errors} == {"ServerUnavailable"}


def test_a_second_signal_ends_the_drain(repository: Path) -> None:
    with Served(repository, "--drain-s", 600) as serve:
        assert serve.address
        serve.process.send_signal(signal.SIGTERM)
        serve.says("not ready; stops in 600 s")
        assert serve.ends(signal.SIGTERM) == 0
