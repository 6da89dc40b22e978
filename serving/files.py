"""Files that readers see as they were or as they are, never half of one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes a file beside `path`, through to the disk, and renames it; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def no_folder(path: Path) -> str:
    """Why a path is no folder, in words: it is not there, or it is a file."""
    return f"{path} is a file, not a folder" if path.exists() else f"there is no folder {path}"


def sync(path: Path) -> None:
    """Writes a file or a directory through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock of a file, which is made where there is none; the kernel drops it with the process, and a process
    that this one starts does not have it. Raises BlockingIOError where somebody else holds it."""
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock of a file, which is made where there is none, and holds it; the kernel drops it with the
    process."""
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
