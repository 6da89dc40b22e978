"""A store of histories that is opened when it is first needed, and that nobody waits for once it has failed."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from serving.breaker import Breaker
from serving.histories.opening import open_histories
from serving.histories.store import Change, HistoryStore, HistoryStoreError, HistoryStoreFull, Stat


class GuardedHistories:
    """The store under `url`, see `Breaker`. A process that serves starts without it, and finds it when it is there."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """`create` as for `open_histories`."""
        self._breaker: Breaker[HistoryStore] = Breaker(
            lambda: open_histories(url, create=create),
            HistoryStoreError,
            full=HistoryStoreFull,
            embedded=urlsplit(url).scheme == "lmdb",
        )

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._breaker.ask(lambda store: store.get_many(keys))

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._breaker.ask(lambda store: store.heads(keys))

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        self._breaker.ask(lambda store: store.update(keys, change))

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return self._breaker.ask(lambda store: store.keys(prefix))

    def drop(self, keys: Sequence[bytes]) -> None:
        self._breaker.ask(lambda store: store.drop(keys))

    def stat(self) -> Stat:
        return self._breaker.ask(lambda store: store.stat())

    def close(self) -> None:
        self._breaker.close()
