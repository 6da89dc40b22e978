"""What keeps histories: values by key, changed atomically, in LMDB on one machine or in Valkey for several."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

Change = Callable[[int, bytes | None], bytes | None]
"""(place among the keys, the value there is) -> the value that shall be; None leaves it as it is. May be asked again,
where somebody else was faster."""


class HistoryStoreError(RuntimeError):
    """The store cannot be used; the message says what to do. Of a change that raises it some keys may have been
    changed; it can be made again."""


class HistoryStoreFull(HistoryStoreError):
    """There is no room; what is kept stays readable."""


class Stat(NamedTuple):
    """What a store holds."""

    url: str
    histories: int
    used_bytes: int
    max_bytes: int | None
    """None where the store's owner sets no bound."""


class HistoryStore(Protocol):
    """Values of bytes by key. Several processes may use one; so may threads. All methods raise HistoryStoreError."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values, in order."""
        ...

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The first bytes of the values, which hold their digests, in order."""
        ...

    def update(self, keys: Sequence[bytes], change: Change) -> None:
        """Changes each of some distinct keys, with nobody between reading and writing. When it returns, others see
        it, and the death of this process loses none of it."""
        ...

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """All keys that begin with the prefix, in no order; those that come or go meanwhile may be among them."""
        ...

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forgets these."""
        ...

    def stat(self) -> Stat:
        """Sizes."""
        ...

    def close(self) -> None:
        """Closes it; closing twice is harmless."""
        ...
