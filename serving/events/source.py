"""Where events come from that arrive while the server runs: the interface of a consumer, and Valkey Streams.

At least once: what was read and not confirmed is read again, by this consumer or by another of its group. As an event
is applied once by its id, the effect is exactly once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from valkey.exceptions import ResponseError, ValkeyError

from serving.events.pushing import Row
from serving.valkey_client import client, told

GROUP = "recserve"
_TIMEOUT_S = 10.0
_BLOCK_MS = 200
_IDLE_MS = 10_000
"""After which what another consumer has read, and not confirmed, is taken over."""
_INT64 = 2**63


class SourceError(RuntimeError):
    """The source cannot be read; the message says what to do."""


class Message(NamedTuple):
    """What was read, whether or not it is an event."""

    token: str
    """What `confirm` and `refuse` take."""
    row: Row | None
    fault: str
    """Why it is no event; "" for one."""


class EventSource(Protocol):
    """A consumer of events, of any broker. Raises SourceError."""

    def read(self, most: int) -> list[Message]:
        """The next messages, those first that were read before and never confirmed; none after a while without any."""
        ...

    def confirm(self, tokens: Sequence[str]) -> None:
        """Will not be read again."""
        ...

    def refuse(self, faults: Sequence[tuple[str, str]]) -> None:
        """(token, why) of what nobody will take: kept elsewhere, for people to look at, and not read again."""
        ...

    def close(self) -> None:
        """Closes it; what was not confirmed is read by another."""
        ...


class ValkeyStream:
    """A stream of a Valkey server, read by a consumer group.

    An entry has the fields user, item and time, and may have value, order and event_id; without an event_id the entry's
    own id names the event. What is refused goes to the stream `<name>:refused`.
    """

    def __init__(self, url: str, consumer: str, *, group: str = GROUP) -> None:
        """`url` is valkey://[user:password@]host:port/database/stream. Raises ValueError for another one, and
        SourceError where nobody answers."""
        server, self.name = _parts(url)
        self._group, self._consumer = group, consumer
        self._client: Any = client(server, _TIMEOUT_S)
        self._own = "0"
        self._join()

    def read(self, most: int) -> list[Message]:
        try:
            # First what this consumer had when it died, then what others left, then what is new.
            entries = self._left(most) or self._taken_over(most) or self._new(most)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise self._failed(error) from error
            self._join()
            return []
        except ValkeyError as error:
            raise self._failed(error) from error
        return [_message(self.name, token, fields) for token, fields in entries]

    def confirm(self, tokens: Sequence[str]) -> None:
        try:
            if tokens:
                self._client.xack(self.name, self._group, *tokens)
        except ValkeyError as error:
            raise self._failed(error) from error

    def refuse(self, faults: Sequence[tuple[str, str]]) -> None:
        try:
            for token, why in faults:
                found = self._client.xrange(self.name, token, token)
                fields = found[0][1] if found else {}
                self._client.xadd(f"{self.name}:refused", {**fields, b"refused": why, b"entry": token})
            self.confirm([token for token, _ in faults])
        except ValkeyError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        self._client.close()

    def _join(self) -> None:
        """Makes stream and group where they are not there, as after a server has lost them."""
        try:
            self._client.xgroup_create(self.name, self._group, id="0", mkstream=True)
        except ValkeyError as error:
            if "BUSYGROUP" not in str(error):
                raise self._failed(error) from error

    def _left(self, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        if self._own == ">":
            return []
        found = self._client.xreadgroup(self._group, self._consumer, {self.name: "0"}, count=most)
        entries = found[0][1] if found else []
        if not entries:
            self._own = ">"
        return entries

    def _taken_over(self, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found = self._client.xautoclaim(self.name, self._group, self._consumer, _IDLE_MS, count=most)
        # An entry that was deleted meanwhile comes without fields.
        return [(token, fields) for token, fields in found[1] if fields is not None]

    def _new(self, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found = self._client.xreadgroup(self._group, self._consumer, {self.name: ">"}, count=most, block=_BLOCK_MS)
        return found[0][1] if found else []

    def _failed(self, error: ValkeyError) -> SourceError:
        return SourceError(f"stream {self.name}: {told(error)}; is a Valkey running there?")


def _parts(url: str) -> tuple[str, str]:
    """The server with its database, and the stream."""
    scheme, host, path, query, fragment = urlsplit(url)
    database, _, stream = path.lstrip("/").partition("/")
    if scheme not in ("valkey", "valkeys") or not host or not database.isdigit() or not stream or fragment:
        raise ValueError(f"'{scheme}:' names no stream of events; write valkey://host:port/0/STREAM")
    return urlunsplit((scheme, host, f"/{database}", query, "")), stream


def _message(stream: str, token: bytes, fields: dict[bytes, bytes]) -> Message:
    entry = token.decode()
    try:
        said = {name.decode(): value.decode() for name, value in fields.items()}
    except UnicodeDecodeError:
        return Message(entry, None, "a field is no UTF-8 text")
    if missing := [name for name in ("user", "item", "time") if not said.get(name)]:
        return Message(entry, None, f"it has no field {missing[0]}")
    try:
        value, time, order = float(said.get("value", "1")), int(said["time"]), int(said.get("order", "0"))
    except ValueError as error:
        return Message(entry, None, f"value, time and order are numbers: {error}")
    if not all(-_INT64 <= number < _INT64 for number in (time, order)):
        return Message(entry, None, "time and order are whole numbers of 64 bits")
    name = said.get("event_id") or f"{stream}:{entry}"
    return Message(entry, Row(said["user"], said["item"], value, time, order, name), "")
