"""A state store that cannot fail a request: what goes wrong is logged and reported, and the store is opened anew."""

from collections.abc import Callable, Sequence

from serving.breaker import Breaker
from serving.state import directory_of, open_store
from serving.state.damage import StateStoreCorrupt, set_aside
from serving.state.states import Entry, Lookup, Read, StateStoreError, StateStoreFull, Store, Written


class GuardedStore:
    """The states under `url` (see `open_store`); without one every read is a miss and nothing is written.

    A damaged file is set aside and a new store is made. A store that is away costs no request anything but the first,
    see `Breaker`. A damaged store is logged each time, any other trouble once per kind.
    """

    def __init__(self, url: str | None, warn: Callable[[str], None]) -> None:
        """Opens the store. Raises ValueError where the URL names none."""
        self._warn = warn
        self._warned: set[str] = set()
        self._breaker: Breaker[Store] | None = None
        if url is None:
            warn("RECSERVE_STATE is not set: no user state is kept, each request asks the encoder")
            return
        self._breaker = Breaker(
            lambda: self._opened(url),
            StateStoreError,
            full=StateStoreFull,
            embedded=directory_of(url) is not None,
        )
        self.get_many([])

    def close(self) -> None:
        """Closes the store; the next use opens it again."""
        if self._breaker is not None:
            self._breaker.close()

    def get_many(self, lookups: Sequence[Lookup]) -> list[Read] | None:
        """Answers in order; None when the store as a whole cannot be read."""
        if self._breaker is None:
            return [Read("miss")] * len(lookups)
        try:
            return self._breaker.ask(lambda store: store.get_many(lookups))
        except StateStoreError as error:
            self._recover(error)
            return None

    def put_many(self, entries: Sequence[Entry]) -> Written:
        """Writes the entries, and says whether that was possible."""
        if self._breaker is None:
            return Written("no_store")
        try:
            return Written("written", self._breaker.ask(lambda store: store.put_many(entries)))
        except StateStoreError as error:
            self._recover(error)
            return Written("failed")

    def _opened(self, url: str) -> Store:
        try:
            return open_store(url)
        except StateStoreCorrupt as error:
            self._set_aside(error)
            return open_store(url)

    def _recover(self, error: StateStoreError) -> None:
        """The breaker has closed a store that failed."""
        if isinstance(error, StateStoreCorrupt):
            self._set_aside(error)
        elif type(error).__name__ not in self._warned:
            self._warned.add(type(error).__name__)
            self._warn(f"{error}; requests go on, their states are computed again")

    def _set_aside(self, error: StateStoreCorrupt) -> None:
        try:
            moved = set_aside(error)
        except OSError as reason:
            self._warn(f"{error}; moving it failed: {reason}")
        else:
            self._warn(f"{error}; moved to {moved}" if moved else f"{error}; another process has moved it")
