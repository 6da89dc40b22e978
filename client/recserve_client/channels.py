"""gRPC calls that are never cut short, since that is what kills tritonserver 2.51.

A deadline that goes out with a call, a call that is cancelled, or a channel that is closed while calls are under way
end that server with a segmentation fault, within seconds where it happens often. So the caller's deadline ends the
caller's wait and nothing else: the call itself runs to its end, and a channel is closed after its last call.
"""

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from recserve_client import outcomes
from recserve_client.connecting import LINGER_S, OPTIONS, Headers, Security, written
from recserve_client.outcomes import Closed, Failed, Overdue, TooManyOverdue
from recserve_client.protocol import Method

_open: weakref.WeakSet["Calls"] = weakref.WeakSet()


class Calls:
    """Unary calls to one server over one channel; may be shared by threads."""

    def __init__(self, url: str, security: Security | None = None) -> None:
        """`url` is host:port; nothing is connected before the first call."""
        self._channel = (
            grpc.insecure_channel(url, OPTIONS)
            if security is None
            else grpc.secure_channel(url, security.credentials, security.options)
        )
        self._methods: dict[Method, Any] = {}
        self._settled = threading.Condition()
        self._pending: set[grpc.Future] = set()
        self._overdue: set[grpc.Future] = set()
        self._closing = False
        _open.add(self)

    def call(self, method: Method, request: Any, headers: Headers, seconds: float) -> Any:
        """The reply to one call, within so many seconds of now.

        Raises:
            Overdue: there is none by then; the call goes on, and its reply is dropped.
            TooManyOverdue, Closed: nothing was sent.
            Failed: the call failed.
        """
        end = time.monotonic() + seconds
        future = self._send(method, request, headers)
        left = end - time.monotonic()
        try:
            if left > 0:
                return future.result(timeout=left)
        except grpc.FutureTimeoutError:
            pass
        except grpc.RpcError as error:
            call: Any = error
            raise Failed(call.code().name, str(call.details())) from error
        with self._settled:
            self._overdue |= {future} & self._pending
        raise Overdue

    def refuse(self) -> None:
        """Sends nothing any more; what is under way goes on."""
        with self._settled:
            self._closing = True

    def close(self, timeout_s: float = LINGER_S) -> None:
        """Refuses further calls, and closes the channel once none is under way; waits for that so long at most."""
        self.refuse()
        with self._settled:
            if self._settled.wait_for(lambda: not self._pending, max(0.0, timeout_s)):
                self._channel.close()

    def settle(self, timeout_s: float) -> None:
        """Waits until no call is under way."""
        with self._settled:
            self._settled.wait_for(lambda: not self._pending, max(0.0, timeout_s))

    def _send(self, method: Method, request: Any, headers: Headers) -> grpc.Future:
        with self._settled:
            if self._closing:
                raise Closed
            if len(self._overdue) >= outcomes.MAX_OVERDUE:
                raise TooManyOverdue
            future = self._callable(method).future(request, metadata=headers)
            # Held until it is done: gRPC cancels a call that nobody holds.
            self._pending.add(future)
        future.add_done_callback(self._done)
        return future

    def _callable(self, method: Method) -> Any:
        if method not in self._methods:
            self._methods[method] = unary(self._channel, method)
        return self._methods[method]

    def _done(self, future: grpc.Future) -> None:
        with self._settled:
            self._pending.discard(future)
            self._overdue.discard(future)
            self._settled.notify_all()


def unary(channel: grpc.Channel, method: Method) -> Any:
    """The call of that method over a channel, with gRPC's own deadlines and cancellation."""
    parse: Callable[[bytes], Any] = method.reply.FromString
    return channel.unary_unary(method.path, written, parse)


def close_all(every: Iterable[Calls]) -> None:
    """Closes all of them, and waits for their calls under way up to `LINGER_S` in all."""
    end, every = time.monotonic() + LINGER_S, list(every)
    for calls in every:
        calls.refuse()
    for calls in every:
        calls.close(end - time.monotonic())


@atexit.register
def _settle_all() -> None:
    """The end of the program resets its connections: calls under way get a while to finish first."""
    end = time.monotonic() + LINGER_S
    for calls in list(_open):
        calls.settle(end - time.monotonic())
