"""Asks the real tritonserver whether models load: one process, one load request per model."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from serving import runtime, shared_memory
from serving.processes import available_ports
from serving.state import url_of

STAND_INS = ("identity", "onnxruntime", "openvino", "pytorch", "tensorflow", "tensorrt")
"""Backends that the wheel lacks, here each one that takes anything: what is refused is refused by the server's core."""

_START_TIMEOUT_S = 60
_CONCURRENT_LOADS = 3
_LOAD_TIMEOUT_S = 10
"""Where a stub ends before it has begun, the server waits for it without end."""
_LOST = "StatusCode.UNAVAILABLE"


def ask(repository: Path, models: Sequence[str], folder: Path, flags: Sequence[str] = ()) -> dict[str, str]:
    """Model -> why the server does not load it; empty where it does.

    A model that ends the server takes those after it to a server of their own, so such models come last.
    """
    command = _command(repository, folder, flags)
    replies: dict[str, str] = {}
    concurrent = _CONCURRENT_LOADS
    while waiting := [model for model in models if model not in replies]:
        replies |= _replies(command, waiting, folder, concurrent)
        concurrent = 1
    return replies


def _replies(command: Sequence[str], models: Sequence[str], folder: Path, concurrent: int) -> dict[str, str]:
    """Of those models that were asked before the server ended."""
    log = folder / "server.log"
    with _server(command, folder, log) as client, ThreadPoolExecutor(concurrent) as pool:
        replies = dict(zip(models, pool.map(lambda model: _load(client, model), models), strict=True))
    lost = [model for model in models if _LOST in replies[model]]
    polled = _poll_errors(log)
    answered = {model: polled.get(model, reply) if reply else "" for model, reply in replies.items()}
    if concurrent == 1 and lost:
        answered[lost.pop(0)] = "tritonserver ends"
    return {model: reply for model, reply in answered.items() if model not in lost}


def _load(client: InferenceServerClient, model: str) -> str:
    try:
        client.load_model(model, client_timeout=_LOAD_TIMEOUT_S)
        client.unload_model(model, unload_dependents=True)
    except InferenceServerException as error:
        return str(error)
    return ""


def _command(repository: Path, folder: Path, flags: Sequence[str]) -> list[str]:
    return [
        str(runtime.wheel_root() / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        "--exit-on-error=0",
        "--allow-http=0",
        "--allow-metrics=0",
        "--grpc-address=127.0.0.1",
        f"--backend-directory={_backends(folder / 'backends')}",
        "--exit-timeout-secs=5",
        # A load that hangs keeps its thread.
        "--model-load-thread-count=16",
        *flags,
    ]


@contextmanager
def _server(command: Sequence[str], folder: Path, log: Path) -> Iterator[InferenceServerClient]:
    (port,) = available_ports([("127.0.0.1", 0)])
    prefix = shared_memory.prefix(secrets.token_hex(4))
    own = [f"--grpc-port={port}", f"--backend-config=python,shm-region-prefix-name={prefix}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *own],
            env=runtime.environment(url_of(folder / "state"), "", ""),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _ready(process, f"127.0.0.1:{port}", log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shared_memory.remove(prefix)


def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> InferenceServerClient:
    deadline = time.monotonic() + _START_TIMEOUT_S
    client = InferenceServerClient(url)
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.is_server_live():
                return client
        except InferenceServerException:
            time.sleep(0.05)
    raise RuntimeError(f"tritonserver did not come up; see {log}")


def _backends(folder: Path) -> Path:
    """The wheel's Python backend, and the stand-ins, compiled."""
    folder.mkdir(parents=True)
    shutil.copytree(runtime.backend_directory(runtime.BACKENDS) / "python", folder / "python")
    source = Path(__file__).with_name("accepts.c")
    for name in STAND_INS:
        (folder / name).mkdir()
        library = folder / name / f"libtriton_{name}.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return folder


def _poll_errors(log: Path) -> Mapping[str, str]:
    """The reply to a load request does not say what is wrong with a configuration; the log does."""
    return dict(re.findall(r"Poll failed for model directory '(.*?)': (.*)", log.read_text(errors="replace")))
