"""A damaged file of the embedded store, and how it is put out of the way."""

import fcntl
import os
from pathlib import Path

from serving.state.states import StateStoreError

DATA = "data.mdb"
_LOCK = "lock.mdb"
_SET_ASIDE = "data.mdb.corrupt"


class StateStoreCorrupt(StateStoreError):
    """The store's file is damaged; `set_aside` makes room for a new one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the state store {path} is damaged ({reason}): move {DATA} and {_LOCK} out of the way; "
            "the states are computed again from the histories"
        )
        self.path = path
        self.identity = identity(path)


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a store's file; None where there is none."""
    try:
        status = os.stat(path / DATA)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def set_aside(error: StateStoreCorrupt) -> Path | None:
    """Renames the damaged file, so that opening the path makes a new store; returns where it is now.

    None when the damaged file is no longer there, because another process was faster. An earlier file that was set
    aside is overwritten. Close the store first.
    """
    directory = os.open(error.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if error.identity is None or identity(error.path) != error.identity:
            return None
        # The lock file first: a new data file must never share the lock file of the damaged one.
        (error.path / _LOCK).unlink(missing_ok=True)
        return (error.path / DATA).replace(error.path / _SET_ASIDE)
    finally:
        os.close(directory)
