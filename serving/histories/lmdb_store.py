"""Histories in LMDB: read and written by all processes of one machine.

Events are nobody's cache: each transaction is on the disk before `update` returns, and a failed one has changed
nothing. Writers wait for one another; readers for nobody.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from serving.histories.store import Change, HistoryStoreError, HistoryStoreFull, Stat
from serving.histories.value import HEAD_BYTES

MAX_BYTES = 1 << 36
"""Of address space, and of the file at most: 64 GiB. The file is as large as its content."""
_READERS = 512
_HEADROOM = 16 << 20
"""Deleting writes pages before it frees any: without this a full store could not be emptied."""

_shared: dict[Path, tuple[Any, int]] = {}
"""LMDB lets a process open a directory once: the environment of each, and how many use it."""
_sharing = threading.Lock()


class LmdbHistories:
    """A directory with one LMDB environment, which all of a process share that open it."""

    def __init__(self, path: Path, *, create: bool = True, max_bytes: int = MAX_BYTES) -> None:
        """Opens the store, or makes it. Raises HistoryStoreError."""
        if not create and not (path / "data.mdb").is_file():
            raise HistoryStoreError(f"there are no histories in {path}; make some with recserve events load")
        self._path, self._max_bytes = path.resolve(), max_bytes
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._env = _taken(self._path, max_bytes)
        except (OSError, lmdb.Error) as error:
            raise HistoryStoreError(f"the histories in {path} cannot be opened: {error}") from error
        self._is_open = True

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._transaction(write=False) as transaction:
            return [transaction.get(key) for key in keys]

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._transaction(write=False, buffers=True) as transaction:
            found = [transaction.get(key) for key in keys]
            return [None if one is None else bytes(one[:HEAD_BYTES]) for one in found]

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        with self._transaction(write=True) as transaction:
            for place, key in enumerate(keys):
                value = change(place, transaction.get(key))
                if value is not None:
                    transaction.put(key, value)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        with self._transaction(write=False) as transaction:
            cursor = transaction.cursor()
            if cursor.set_range(prefix):
                for key in cursor.iternext(keys=True, values=False):
                    if not key.startswith(prefix):
                        return
                    yield key

    def drop(self, keys: Sequence[bytes]) -> None:
        self._env.set_mapsize(self._max_bytes + _HEADROOM)
        with self._transaction(write=True) as transaction:
            for key in keys:
                transaction.delete(key)

    def stat(self) -> Stat:
        with self._transaction(write=False) as transaction:
            number = transaction.stat()["entries"]
        used = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        return Stat(f"lmdb://{self._path}", number, used, self._max_bytes)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            _given_back(self._path)

    @contextmanager
    def _transaction(self, *, write: bool, buffers: bool = False) -> Iterator[Any]:
        try:
            with self._env.begin(write=write, buffers=buffers) as transaction:
                yield transaction
        except lmdb.MapFullError as error:
            raise HistoryStoreFull(
                f"the histories in {self._path} have reached {self._max_bytes:,} bytes, and no event is taken: "
                "drop the users of a data set that nobody serves any more (recserve events drop), or move to Valkey"
            ) from error
        except (lmdb.Error, OSError) as error:
            raise HistoryStoreError(f"the histories in {self._path} failed: {error}") from error


def _taken(path: Path, max_bytes: int) -> Any:
    with _sharing:
        environment, users = _shared.get(path, (None, 0))
        if environment is None:
            environment = lmdb.open(str(path), map_size=max_bytes, max_readers=_READERS, mode=0o600)
            environment.reader_check()
        _shared[path] = environment, users + 1
        return environment


def _given_back(path: Path) -> None:
    with _sharing:
        environment, users = _shared.pop(path)
        if users == 1:
            environment.close()
        else:
            _shared[path] = environment, users - 1
