"""Keeps the cache small: each server leaves a log there, each version of our backends a directory.

A backend directory is as old as its last use; what a living process uses stays, however old.
"""

import contextlib
import math
import os
import tempfile
import time
from pathlib import Path

from serving import runtime, server_log

LOG_AGE_S = 7 * 24 * 3600
"""Since the last line."""
NUM_BACKENDS = 8
"""Backend directories that stay in any case, the newest."""


def prune() -> list[Path]:
    """Removes logs older than `LOG_AGE_S` and all but the newest backend directories, and returns what is gone."""
    before = time.time() - LOG_AGE_S
    logs = [path for path in server_log.folder().glob("*.log") if _modified(path) < before]
    backends = sorted(runtime.backend_cache().glob("*"), key=_modified, reverse=True)[NUM_BACKENDS:]
    old = logs + backends
    used = _used() if old else b""
    return [path for path in old if os.fsencode(path) not in used and _remove(path)]


def _modified(path: Path) -> float:
    """Seconds since 1970; infinite where another server that prunes was faster."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _used() -> bytes:
    """Command lines and standard outputs of all living processes: tritonserver's and its stubs' name what they use."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_bytes())
            found.append(os.fsencode(os.readlink(process / "fd" / "1")))
    return b"\n".join(found)


def _remove(path: Path) -> bool:
    """A directory goes in one step, so that nobody takes half of it for the whole."""
    try:
        if path.is_file():
            path.unlink()
        else:
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
                path.rename(Path(scratch) / path.name)
    except OSError:
        return False
    return True
