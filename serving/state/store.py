"""The embedded store of user states: LMDB, read and written by several processes of one machine.

It is a cache: everything in it can be computed again from the histories, so losing the last write is fine and
answering from a damaged one is not. Hence:

- The data is synchronised to the disk once per transaction and the page that names the newest transaction is not
  (`metasync=False`): a crash of the machine loses the last write, never the tree. One sync per dynamic batch of misses
  is what that costs; reads cost none.
- The map is not writable (`writemap=False`): a stray pointer cannot write into it, and the file is as large as its
  content.
- Each value carries a checksum over itself and its key; what fails it is `corrupt`, never returned.
- A file that was cut short would kill a process that reads it through the map (SIGBUS), so its length and identity are
  compared before every transaction (about 8 us).
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import lmdb

from serving.state import record
from serving.state.record import Key, Precision
from serving.state.states import Entry, Lookup, Read

_DATA = "data.mdb"
_LOCK = "lock.mdb"
_SET_ASIDE = "data.mdb.corrupt"
_HEADROOM = 16 << 20
_DAMAGE = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError, lmdb.PanicError)


class StateStoreError(RuntimeError):
    """The store cannot be used; the message says what to do."""


class StateStoreFull(StateStoreError):
    """The store has reached its `max_bytes`."""


class StateStoreCorrupt(StateStoreError):
    """The store's file is damaged; `set_aside` makes room for a new one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the state store {path} is damaged ({reason}): move {_DATA} and {_LOCK} out of the way; "
            "the states are computed again from the histories"
        )
        self.path = path
        self.identity = _identity(path)


class Stat(NamedTuple):
    """What a store holds."""

    path: Path
    entries: dict[tuple[str, int], int]
    """(model, version) -> number of users."""
    file_bytes: int
    max_bytes: int


class StateStore:
    """A directory with one LMDB environment; open it once per process, it may be shared by threads."""

    def __init__(self, path: Path, *, max_bytes: int = 1 << 30, readonly: bool = False) -> None:
        """Opens the store, creating it unless `readonly`.

        Raises:
            StateStoreCorrupt: the file is no LMDB environment, or cut short.
            StateStoreError: it cannot be opened for another reason (permissions, open twice, absent).
        """
        self.path = path
        self._max_bytes = max_bytes
        try:
            if not readonly:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(path), map_size=max_bytes, readonly=readonly, create=not readonly, metasync=False, mode=0o600
            )
        except _DAMAGE as error:
            raise StateStoreCorrupt(path, str(error)) from error
        except (OSError, lmdb.Error) as error:
            raise StateStoreError(_why_not_opened(path, error)) from error
        self._identity = _identity(path)
        self._page_bytes = self._env.stat()["psize"]
        try:
            self._refuse_if_damaged()
        except StateStoreError:
            self.close()
            raise
        self._env.reader_check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the environment; closing twice is harmless."""
        self._env.close()

    def get(self, key: Key, stamp: int, digest: bytes) -> Read:
        """The state of one user; see `get_many`."""
        return self.get_many([Lookup(key, stamp, digest)])[0]

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read]:
        """Answers in the order of `lookups`, from one snapshot; arrays are copies. Raises StateStoreError."""
        with self._transaction(write=False) as transaction:
            return [_read(transaction, lookup) for lookup in lookups]

    def put(self, entry: Entry, *, precision: Precision = "float32") -> None:
        """Writes one state; see `put_many`."""
        self.put_many([entry], precision=precision)

    def put_many(self, entries: Sequence[Entry], *, precision: Precision = "float32") -> None:
        """Writes all entries in one transaction, or none; of entries with the same key the last one stays.

        Raises:
            ValueError: an array of a dtype that a state cannot hold, or too large for float16.
            StateStoreFull: no room.
            StateStoreError: the store as a whole cannot be written.
        """
        time_ms = time.time_ns() // 1_000_000
        values = {}
        for (key, stamp, digest), arrays in entries:
            name = record.encode_key(key)
            values[name] = record.encode(name, record.Header(len(arrays), stamp, digest, time_ms), arrays, precision)
        with self._transaction(write=True) as transaction:
            for name, value in values.items():
                transaction.put(name, value)

    def drop(self, model: str | None = None, version: int | None = None) -> int:
        """Deletes the states of a model's version, of a model, or all; returns how many there were.

        No other thread of this process may use the store meanwhile.
        """
        if model is None and version is not None:
            raise ValueError(f"version {version} of which model? Name the model whose states are to be dropped")
        # Deleting writes pages before it frees any: without this a full store could not be emptied.
        self._env.set_mapsize(self._max_bytes + _HEADROOM)
        start = b"" if model is None else record.prefix(model, version)
        with self._transaction(write=True) as transaction:
            keys = list(_keys(transaction, start))
            for key in keys:
                transaction.delete(key)
        return len(keys)

    def users(self, model: str, version: int) -> list[int]:
        """The users that have a state, whether up to date or not, in ascending order."""
        with self._transaction(write=False) as transaction:
            return [record.decode_key(key).user for key in _keys(transaction, record.prefix(model, version))]

    def stat(self) -> Stat:
        """Entries per model and version, and sizes in bytes."""
        with self._transaction(write=False) as transaction:
            entries = Counter(record.decode_key(key)[:2] for key in _keys(transaction, b""))
        return Stat(self.path, dict(entries), (self.path / _DATA).stat().st_size, self._max_bytes)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[lmdb.Transaction]:
        self._refuse_if_damaged()
        try:
            with self._env.begin(write=write, buffers=True) as transaction:
                yield transaction
        except lmdb.MapFullError as error:
            raise StateStoreFull(
                f"the state store {self.path} has reached {self._max_bytes:,} bytes: "
                "drop the states of old versions (`recserve state drop`), or open it with more max_bytes"
            ) from error
        except _DAMAGE as error:
            raise StateStoreCorrupt(self.path, str(error)) from error
        except lmdb.Error as error:
            raise StateStoreError(f"the state store {self.path} failed: {error}; close it and open it again") from error

    def _refuse_if_damaged(self) -> None:
        found = self._file_bytes()
        needed = 2 * self._page_bytes
        if found >= needed:
            needed = (self._env.info()["last_pgno"] + 1) * self._page_bytes
            # Another process may have extended the file between the two; only a file that is still short is damaged.
            found = found if found >= needed else self._file_bytes()
        if found < needed:
            raise StateStoreCorrupt(self.path, f"{found} bytes of at least {needed}")

    def _file_bytes(self) -> int:
        try:
            status = os.stat(self.path / _DATA)
        except OSError as error:
            raise StateStoreError(
                f"the state store {self.path} is gone ({error}): close it and open it again"
            ) from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise StateStoreError(f"the state store {self.path} was replaced: close it and open it again")
        return status.st_size


def set_aside(error: StateStoreCorrupt) -> Path | None:
    """Renames the damaged file, so that opening the path makes a new store; returns where it is now.

    None when the damaged file is no longer there, because another process was faster. An earlier file that was set
    aside is overwritten. Close the store first.
    """
    directory = os.open(error.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if error.identity is None or _identity(error.path) != error.identity:
            return None
        # The lock file first: a new data file must never share the lock file of the damaged one.
        (error.path / _LOCK).unlink(missing_ok=True)
        return (error.path / _DATA).replace(error.path / _SET_ASIDE)
    finally:
        os.close(directory)


def _read(transaction: lmdb.Transaction, lookup: Lookup) -> Read:
    key = record.encode_key(lookup.key)
    value = transaction.get(key)
    if value is None:
        return Read("miss")
    value = memoryview(value)
    header = record.open_value(key, value)
    if header is None:
        return Read("corrupt")
    if header.stamp != lookup.stamp or header.digest != lookup.digest:
        return Read("stale", time_ms=header.time_ms)
    return Read("hit", record.decode_arrays(value, header), header.time_ms)


def _keys(transaction: lmdb.Transaction, start: bytes) -> Iterator[bytes]:
    cursor = transaction.cursor()
    if not cursor.set_range(start):
        return
    for key in cursor.iternext(keys=True, values=False):
        data = bytes(key)
        if not data.startswith(start):
            return
        yield data


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path / _DATA)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _why_not_opened(path: Path, error: Exception) -> str:
    if "already open" in str(error):
        return f"the state store {path} is already open in this process: share that StateStore, or close it first"
    if not (path / _DATA).exists():
        return f"there is no state store at {path} ({error}): name another directory, or run `recserve state build`"
    return f"the state store {path} cannot be opened: {error}"
