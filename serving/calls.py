"""gRPC calls that are never cut short, since that is what kills the server of the wheel.

A deadline that goes out with a call, a call that is cancelled, or a channel that is closed while calls are under way
end tritonserver 2.51 with a segmentation fault, within seconds where it happens often. So the caller's deadline ends
the caller's wait and nothing else: the call itself runs to its end, and a channel is closed after its last call.
"""

import atexit
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

messages: Any = service_pb2
"""The protocol's messages, which are made at import, where no type checker sees them."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_OVERDUE = 256
"""Calls past their deadline and still under way that one client may have; each holds its request in memory."""
LINGER_S = 10.0
"""How long closing a client, or the end of the program, waits for calls under way."""

_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Its own connection, so that two clients neither share a socket nor each other's reconnection back-off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.enable_http_proxy", 0),
]

_open: weakref.WeakSet["Calls"] = weakref.WeakSet()


class Overdue(Exception):
    """The caller's deadline passed; the call goes on."""


class TooManyOverdue(Exception):
    """`MAX_OVERDUE` calls are past their deadline and still under way, so no further one is sent."""


class Closed(Exception):
    """The channel was closed."""


class Calls:
    """The unary calls of tritonserver's service over one channel; may be shared by threads."""

    def __init__(self, url: str) -> None:
        """`url` is host:port; nothing is connected before the first call."""
        self._channel = grpc.insecure_channel(url, _OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._settled = threading.Condition()
        self._pending: set[grpc.Future] = set()
        self._overdue: set[grpc.Future] = set()
        self._closing = False
        _open.add(self)

    def call(self, method: str, request: Any, headers: Sequence[tuple[str, str]], deadline_s: float) -> Any:
        """The reply to one call, within `deadline_s` seconds of now.

        Raises:
            Overdue: there is none by then; the call goes on, and its reply is dropped.
            TooManyOverdue: nothing was sent.
            Closed: nothing was sent.
            grpc.RpcError: the call failed.
        """
        end = time.monotonic() + deadline_s
        future = self._send(method, request, headers)
        left = end - time.monotonic()
        try:
            if left > 0:
                return future.result(timeout=left)
        except grpc.FutureTimeoutError:
            pass
        with self._settled:
            self._overdue |= {future} & self._pending
        raise Overdue

    def close(self) -> None:
        """Refuses further calls, and closes the channel once none is under way; waits for that up to `LINGER_S`."""
        with self._settled:
            self._closing = True
            if self._settled.wait_for(lambda: not self._pending, LINGER_S):
                self._channel.close()

    def settle(self, timeout_s: float) -> None:
        """Waits until no call is under way."""
        with self._settled:
            self._settled.wait_for(lambda: not self._pending, max(0.0, timeout_s))

    def _send(self, method: str, request: Any, headers: Sequence[tuple[str, str]]) -> grpc.Future:
        with self._settled:
            if self._closing:
                raise Closed
            if len(self._overdue) >= MAX_OVERDUE:
                raise TooManyOverdue
            future = getattr(self._stub, method).future(request, metadata=headers)
            # Held until it is done: gRPC cancels a call that nobody holds.
            self._pending.add(future)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: grpc.Future) -> None:
        with self._settled:
            self._pending.discard(future)
            self._overdue.discard(future)
            self._settled.notify_all()


@atexit.register
def _settle_all() -> None:
    """The end of the program resets its connections: calls under way get a while to finish first."""
    end = time.monotonic() + LINGER_S
    for calls in list(_open):
        calls.settle(end - time.monotonic())
