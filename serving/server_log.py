"""Logs of tritonserver: where they go, and which of their lines matter."""

import os
import re
import secrets
import time
from pathlib import Path

from serving import runtime

_LINES = 8
_WIDTH = 600
_ERROR = re.compile(r"E\d{4} (?!.*CudaDriverHelper)|error: |.*triton_python_backend_stub: ")
"""The server's own errors (not its complaint about the GPU that is not there), and the loader's."""


def folder() -> Path:
    """Where the logs of servers are."""
    return runtime.cache() / "logs"


def new(name: str) -> Path:
    """A file in the cache for the log of one server; not made yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return folder() / f"{name}-{stamp}-{os.getpid()}-{secrets.token_hex(2)}.log"


def excerpt(log: Path, start: int = 0) -> str:
    """The last errors of a log from the byte `start` on, or its last lines where it has none."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    errors = [line for line in lines if _ERROR.match(line)]
    # A Python traceback follows the message, on the same line.
    return "\n".join(line.partition("\\n\\nAt:")[0][:_WIDTH] for line in (errors or lines)[-_LINES:])
