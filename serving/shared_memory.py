"""The /dev/shm files through which tritonserver talks to its Python stubs.

A clean stop removes them; a killed server leaves them behind, at least 1 MiB for each instance of a model.
"""

import os
import re
import time
from pathlib import Path

DIRECTORY = Path("/dev/shm")  # noqa: S108 the kernel's place for shared memory, not a scratch directory
SETTLED_S = 30.0
"""A file younger than this may belong to a server that has created it and not mapped it yet."""

_OURS = re.compile(r"recserve_\d+_[0-9a-f]+_")
_SERVERS = ("tritonserver", "triton_python_b")
"""Names of the processes that map such files, as the kernel shortens them."""
_DEFAULT = re.compile(r"triton_.*_backend_shm_region_")


def prefix(token: str) -> str:
    """The prefix of the file names of one server that this process starts."""
    return f"recserve_{os.getpid()}_{token}_"


def files(name_prefix: str) -> list[str]:
    """Names of the files of one server."""
    return sorted(path.name for path in DIRECTORY.glob(f"{name_prefix}*"))


def remove(name_prefix: str) -> None:
    """Removes the files of one server that has stopped."""
    for path in DIRECTORY.glob(f"{name_prefix}*"):
        path.unlink(missing_ok=True)


def sweep(directory: Path = DIRECTORY, settled_s: float = SETTLED_S) -> list[str]:
    """Removes what killed servers left behind, and returns the names.

    A file goes when all of this holds: its name is one that recserve or tritonserver gives, this user owns it, it is
    older than `settled_s`, and no living process maps it. Where this user runs a tritonserver or stub whose maps cannot
    be read, nothing goes.
    """
    now = time.time()
    stale = [
        path
        for path in directory.iterdir()
        if (_OURS.match(path.name) or _DEFAULT.match(path.name)) and _is_settled(path, now - settled_s)
    ]
    mapped = _mapped(str(directory)) if stale else set()
    if mapped is None:
        return []
    return [path.name for path in stale if path.name not in mapped and _unlink(path)]


def _is_settled(path: Path, before: float) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_uid == os.geteuid() and status.st_mtime <= before


def _mapped(directory: str) -> set[str] | None:
    """Names of the files in `directory` that a living process maps; None where that cannot be known."""
    names: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid != os.geteuid():
                continue
            maps = (process / "maps").read_text()
        except PermissionError:
            if (process / "comm").read_text().startswith(_SERVERS):
                return None
            continue
        except (FileNotFoundError, ProcessLookupError):
            continue
        names.update(re.findall(rf" {re.escape(directory)}/(\S+)", maps))
    return names


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except (FileNotFoundError, PermissionError):
        return False
    return True
