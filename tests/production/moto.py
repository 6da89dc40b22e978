"""A server of S3's protocol, in an environment of its own: what it needs does not go with what recserve needs."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.served import until
from serving.files import locked
from tests.production.helm import KEPT

_PACKAGES = ("moto[s3]==5.2.5", "flask", "flask-cors")


def _installed() -> Path:
    """A folder of packages, made once."""
    folder = KEPT.resolve() / "moto-5.2.5"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            begun = folder.with_suffix(".begun")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--ignore-installed", "--target", begun, *_PACKAGES], check=True)
            begun.rename(folder)
    return folder


@contextmanager
def server(log: Path) -> Iterator[str]:
    """Its URL, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(port)],
            env={**os.environ, "PYTHONPATH": str(_installed())},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: _answers(port) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
