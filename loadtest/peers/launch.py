"""Starts a peer on given cores, and leaves nothing of it behind."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from loadtest.cores import started_on
from loadtest.failure import MeasurementError
from loadtest.peers import environments
from loadtest.peers.environments import Peer
from loadtest.transports import Connection, transport
from serving import golden
from serving.golden import Golden
from serving.readiness import TOLERANCE

_ROOT = Path(__file__).parents[2]
_PORTS = 3
"""In a row: a server may want some for HTTP and for metrics beside its own."""
_READY_TIMEOUT_S = 300.0
"""One that compiles takes a minute; one that ends is noticed at once."""
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1
_LINES = 30


class StartFailure(MeasurementError):
    """A peer did not come up, or answers wrongly."""


class Running(NamedTuple):
    """A peer that answers."""

    url: str
    """host:port"""
    process: subprocess.Popen[bytes]
    """Others may be below it."""


@contextmanager
def running(name: str, model: Path, cores: Sequence[int], python: Path | None = None) -> Iterator[Running]:
    """A peer that has answered the model's golden requests right.

    Args:
        name: in `environments.PEERS`.
        model: the ONNX file, as <repository>/<model>/<version>/model.onnx.
        cores: where all of its processes run.
        python: the interpreter; that of the peer's own environment, which is made if need be, where None.

    Raises:
        EnvironmentFailure: the environment could not be made.
        StartFailure: the server did not come up within five minutes, or answers wrongly.
    """
    peer = environments.peer(name)
    interpreter = python or environments.make(name)
    with tempfile.TemporaryDirectory(prefix=f"recserve-{name}-") as folder:
        port = _free_port()
        with started_on(cores):
            process = _start(peer, interpreter, model.resolve(), port, Path(folder))
        try:
            one = Running(f"127.0.0.1:{port}", process)
            _wait(one, peer, Path(folder))
            _check(one, peer, model.resolve())
            yield one
        finally:
            _stop(process)


def _start(peer: Peer, interpreter: Path, model: Path, port: int, folder: Path) -> subprocess.Popen[bytes]:
    with _log(folder).open("wb") as log:
        return subprocess.Popen(
            [str(interpreter), "-m", peer.module, "--model", str(model), "--port", str(port)],
            cwd=folder,
            env=os.environ | _environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment(folder: Path) -> dict[str, str]:
    """All that a server writes goes to `folder`."""
    return {
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(folder),
        "BENTOML_HOME": str(folder),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def _log(folder: Path) -> Path:
    return folder / "server.log"


def _wait(one: Running, peer: Peer, folder: Path) -> None:
    """Returns when the server listens."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while not _listens(one.url):
        if one.process.poll() is not None or time.monotonic() > deadline:
            end = "\n".join(_log(folder).read_text(errors="replace").splitlines()[-_LINES:])
            raise StartFailure(f"{peer.name} did not come up; the end of its log:\n{end}")
        time.sleep(_POLL_S)


def _listens(url: str) -> bool:
    host, _, port = url.partition(":")
    with socket.socket() as one:
        return one.connect_ex((host, int(port))) == 0


def _check(one: Running, peer: Peer, model: Path) -> None:
    name = model.parent.parent.name
    requests = golden.read(model.with_name("golden.safetensors"))
    connection = transport(peer.transport)(one.url)
    try:
        _await_answer(connection, name, requests[0])
        for request in requests:
            gap = golden.compare(request.outputs, connection.infer(name, request.inputs), TOLERANCE)
            if not gap.ok:
                raise StartFailure(f"{peer.name} answers a golden request of {name} wrongly: {gap}")
    finally:
        connection.close()


def _await_answer(connection: Connection, model: str, request: Golden) -> None:
    """A server may listen before its model is loaded."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        try:
            connection.infer(model, request.inputs)
        except Exception as error:
            if time.monotonic() > deadline:
                raise StartFailure(f"{model} gave no answer: {error}") from error
            time.sleep(_POLL_S)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The server stops in order if it can; then whatever was below it ends, in other process groups too."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT_S)
    process.kill()
    process.wait()
    for each in below:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(below)


def _free_port() -> int:
    """The first of `_PORTS` that were free a moment ago."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        if not any(_listens(f"127.0.0.1:{port + offset}") for offset in range(1, _PORTS)):
            return port
