"""What the two kinds of client have in common: how they are made, and what they count."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from recserve_client import retries as retrying
from recserve_client.connecting import Security, Tls
from recserve_client.core import Core, Counters

Calls = TypeVar("Calls")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Connections(Generic[Calls]):
    """Channels to one server or more that serve the same models."""

    _channel: Callable[[str, Security | None], Calls]
    """How one is made: host:port, and what it is encrypted with."""

    def __init__(
        self,
        *urls: str | Sequence[str],
        deadline_s: float = 5.0,
        headers: Mapping[str, str] = NO_HEADERS,
        tls: Tls | None = None,
        retries: int = retrying.MOST,
    ) -> None:
        """Nothing is connected before the first call.

        Args:
            urls: host:port of each server, or a list of them.
            deadline_s: seconds that a caller waits, unless a call says otherwise.
            headers: sent with every call, such as authorization, x-user-id or traceparent.
            tls: how to encrypt; plain text where None.
            retries: times that a request is sent again at most. 0 shows every failure to the caller.

        Raises:
            ValueError: there is no server, a file of `tls` cannot be read, or `retries` is negative.
            InvalidRequest: a header is none.
        """
        every = [one for url in urls for one in ([url] if isinstance(url, str) else url)]
        self._core = Core(every, deadline_s, headers, retries)
        security = None if tls is None else tls.security()
        self._calls = {url: self._channel(url, security) for url in self.urls}

    @property
    def urls(self) -> tuple[str, ...]:
        """host:port of each server."""
        return self._core.endpoints.urls

    @property
    def counters(self) -> Counters:
        """What was sent, sent again and given up so far."""
        return self._core.counters
