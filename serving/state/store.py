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
- It never fills up: a write that finds too many pages in use deletes older entries first, see `eviction`. A share of
  the pages is kept free, as LMDB writes some before it frees any.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import lmdb

from serving.state import record
from serving.state.damage import DATA, StateStoreCorrupt, identity
from serving.state.eviction import Hand
from serving.state.record import Key, Precision
from serving.state.states import Entry, Lookup, Read, Stat, StateStoreError, StateStoreFull, judged, start_of

MAX_BYTES = 1 << 30
LEAST_BYTES = 4 << 20
_COPIES = 64
_HEADROOM = 16 << 20
"""Beyond `max_bytes`, for a store that somebody with another bound has filled."""
_DAMAGE = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError, lmdb.PanicError)


class StateStore:
    """A directory with one LMDB environment; open it once per process, it may be shared by threads."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, readonly: bool = False) -> None:
        """Opens the store, creating it unless `readonly`. Entries are evicted so that its file takes `max_bytes`; of
        states below a page a store of a few MiB takes up to an eighth more, and none ever 16 MiB more.

        Raises:
            ValueError: max_bytes are too few.
            StateStoreCorrupt: the file is no LMDB environment, or cut short.
            StateStoreError: it cannot be opened for another reason (permissions, open twice, absent).
        """
        if max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes is {max_bytes}; a state store takes at least {LEAST_BYTES}")
        self.path = path
        self._max_bytes = max_bytes
        size = max_bytes + _HEADROOM
        try:
            if not readonly:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(path), map_size=size, readonly=readonly, create=not readonly, metasync=False, mode=0o600
            )
        except _DAMAGE as error:
            raise StateStoreCorrupt(path, str(error)) from error
        except (OSError, lmdb.Error) as error:
            raise StateStoreError(_why_not_opened(path, error)) from error
        self._identity = identity(path)
        self._page_bytes = self._env.stat()["psize"]
        self._hand = Hand()
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

    def get(self, key: Key, digest: bytes) -> Read:
        """The state of one user; see `get_many`."""
        return self.get_many([Lookup(key, digest)])[0]

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read]:
        """Answers in the order of `lookups`, from one snapshot; arrays are copies. Raises StateStoreError."""
        with self._transaction(write=False) as transaction:
            return [_read(transaction, record.encode_key(key), digest) for key, digest in lookups]

    def put(self, entry: Entry, *, precision: Precision = "float32") -> int:
        """Writes one state; see `put_many`."""
        return self.put_many([entry], precision=precision)

    def put_many(self, entries: Sequence[Entry], *, precision: Precision = "float32") -> int:
        """Writes all entries in one transaction, or none; of entries with the same key the last one stays.

        Returns: how many older entries were evicted in the same transaction, to make room.

        Raises:
            ValueError: an array of a dtype that a state cannot hold, or too large for float16.
            StateStoreFull: the entries are more than the store takes, or a reader that does not end holds its pages.
            StateStoreError: the store as a whole cannot be written.
        """
        time_ms = time.time_ns() // 1_000_000
        values = {}
        for (key, digest), arrays in entries:
            name = record.encode_key(key)
            values[name] = record.encode(name, record.Header(len(arrays), digest, time_ms), arrays, precision)
        if not values:
            return 0
        total = self._max_bytes // self._page_bytes
        # What a transaction frees is written again by the second after it, so there is room for four of this size; and
        # for copies of the pages where small entries are evicted.
        most = total - max(total // 8 + _COPIES, 4 * sum(map(self._pages_of, values.values())))
        if most < 0:
            raise self._full()
        with self._transaction(write=True) as transaction:
            evicted = self._hand.make_room(transaction, self._env.open_db(), most, next(iter(values)))
            for name, value in values.items():
                transaction.put(name, value)
        return evicted

    def _pages_of(self, value: bytes) -> int:
        """Of its own, or that it shares with others, and the copy of the one that points to it."""
        return 2 + len(value) // self._page_bytes

    def drop(self, model: str | None = None, stamp: int | None = None) -> int:
        """Deletes the states of a model and stamp, of a model, or all; returns how many there were."""
        start = start_of(model, stamp)
        with self._transaction(write=True) as transaction:
            keys = list(_keys(transaction, start))
            for key in keys:
                transaction.delete(key)
        return len(keys)

    def users(self, model: str, stamp: int) -> list[int]:
        """The users that have a state, whether up to date or not, in ascending order."""
        with self._transaction(write=False) as transaction:
            found = map(record.decode_key, _keys(transaction, record.prefix(model, stamp)))
            return [key.user for key in found if key is not None]

    def stat(self) -> Stat:
        """Entries per model and stamp, and sizes in bytes."""
        with self._transaction(write=False) as transaction:
            found = [*map(record.decode_key, _keys(transaction, b""))]
        entries = Counter(key[:2] for key in found if key is not None)
        return Stat(f"lmdb://{self.path}", dict(entries), (self.path / DATA).stat().st_size, self._max_bytes)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[lmdb.Transaction]:
        self._refuse_if_damaged()
        try:
            with self._env.begin(write=write, buffers=True) as transaction:
                yield transaction
        except lmdb.MapFullError as error:
            # Whoever was killed while it read holds pages that could be written again.
            self._env.reader_check()
            raise self._full() from error
        except _DAMAGE as error:
            raise StateStoreCorrupt(self.path, str(error)) from error
        except lmdb.Error as error:
            raise StateStoreError(f"the state store {self.path} failed: {error}; close it and open it again") from error

    def _full(self) -> StateStoreFull:
        return StateStoreFull(
            f"the state store {self.path} has reached {self._max_bytes:,} bytes, and evicting older states makes too "
            "little room: empty it (`recserve state drop`), or open it with more max_bytes"
        )

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
            status = os.stat(self.path / DATA)
        except OSError as error:
            raise StateStoreError(
                f"the state store {self.path} is gone ({error}): close it and open it again"
            ) from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise StateStoreError(f"the state store {self.path} was replaced: close it and open it again")
        return status.st_size


def _read(transaction: lmdb.Transaction, key: bytes, digest: bytes) -> Read:
    value = transaction.get(key)
    return judged(key, None if value is None else memoryview(value), digest)


def _keys(transaction: lmdb.Transaction, start: bytes) -> Iterator[bytes]:
    cursor = transaction.cursor()
    if not cursor.set_range(start):
        return
    for key in cursor.iternext(keys=True, values=False):
        data = bytes(key)
        if not data.startswith(start):
            return
        yield data


def _why_not_opened(path: Path, error: Exception) -> str:
    if "already open" in str(error):
        return f"the state store {path} is already open in this process: share that StateStore, or close it first"
    if not (path / DATA).exists():
        return f"there is no state store at {path} ({error}): name another directory, or run `recserve state build`"
    return f"the state store {path} cannot be opened: {error}"
