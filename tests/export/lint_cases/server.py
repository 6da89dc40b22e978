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
from serving.server import available_ports
from tests.export.lint_cases.case import ANSWERS_NOTHING

STAND_INS = ("onnxruntime", "tensorrt", "pytorch", "tensorflow", "openvino", "custom")
"""Backends that take anything, so that what is refused is refused by the server's core."""

_START_TIMEOUT_S = 60
_CONCURRENT_LOADS = 3


def ask(repository: Path, models: Sequence[str], folder: Path, flags: Sequence[str] = ()) -> dict[str, str]:
    """Model -> why the server does not load it; empty where it does."""
    log = folder / "server.log"
    with _server(repository, folder, log, flags) as client:

        def load(model: str) -> str:
            try:
                client.load_model(model)
            except InferenceServerException as error:
                return str(error.message())
            client.unload_model(model, unload_dependents=True)
            return ""

        with ThreadPoolExecutor(_CONCURRENT_LOADS) as pool:
            replies = dict(zip(models, pool.map(load, models), strict=True))
    polled = _poll_errors(log)
    return {model: polled.get(model, reply) if reply else "" for model, reply in replies.items()}


@contextmanager
def _server(repository: Path, folder: Path, log: Path, flags: Sequence[str]) -> Iterator[InferenceServerClient]:
    (port,) = available_ports("127.0.0.1", (0,))
    prefix = shared_memory.prefix(secrets.token_hex(4))
    command = [
        str(runtime.wheel_root() / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        "--exit-on-error=0",
        "--allow-http=0",
        "--allow-metrics=0",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        f"--backend-directory={runtime.backend_directory(_stand_ins(folder / 'backends'))}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--exit-timeout-secs=5",
        *flags,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=runtime.environment(folder / "state", ""),
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


def _stand_ins(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for name in STAND_INS:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.py").write_text(ANSWERS_NOTHING)
    return folder


def _poll_errors(log: Path) -> Mapping[str, str]:
    """The reply to a load request does not say what is wrong with a configuration; the log does."""
    return dict(re.findall(r"Poll failed for model directory '(.*?)': (.*)", log.read_text(errors="replace")))
