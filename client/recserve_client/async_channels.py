"""Calls of `grpc.aio` that are never cut short, as those of `recserve_client.channels` are not.

gRPC would cancel a call with the task that waits for it, and the end of an event loop cancels all tasks. So the tasks
of a call are its own, nobody awaits them directly, and they go on for a while when they are cancelled.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio

from recserve_client import outcomes
from recserve_client.connecting import LINGER_S, OPTIONS, Headers, Security, written
from recserve_client.errors import InvalidRequest
from recserve_client.outcomes import Closed, Failed, Overdue, TooManyOverdue
from recserve_client.protocol import Method


class _Steady(asyncio.Task[Any]):
    """A task that heeds its cancellation only after `LINGER_S`."""

    def cancel(self, msg: Any | None = None) -> bool:
        self.get_loop().call_later(LINGER_S, partial(super().cancel, msg))
        return True


def _steady(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> _Steady:
    return _Steady(coroutine, loop=loop, **options)


@contextmanager
def _steadily(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Tasks that are made inside are steady, those that gRPC makes too."""
    before = loop.get_task_factory()
    loop.set_task_factory(_steady)  # pyright: ignore[reportArgumentType] - it takes what coroutines there are
    try:
        yield
    finally:
        loop.set_task_factory(before)


class AsyncCalls:
    """Unary calls to one server over one channel, in one event loop."""

    def __init__(self, url: str, security: Security | None = None) -> None:
        """`url` is host:port; the channel is made in the first call, which has an event loop."""
        self._url, self._security = url, security
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[Method, Any] = {}
        self._pending: set[asyncio.Task[Any]] = set()
        self._overdue: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def call(self, method: Method, request: Any, headers: Headers, seconds: float) -> Any:
        """The reply to one call, within so many seconds of now.

        Raises:
            Overdue: there is none by then; the call goes on, and its reply is dropped.
            TooManyOverdue, Closed: nothing was sent.
            Failed: the call failed.
            InvalidRequest: this is another event loop than that of the first call.
            asyncio.CancelledError: whoever waits was cancelled; the call goes on.
        """
        if self._closing:
            raise Closed
        if len(self._overdue) >= outcomes.MAX_OVERDUE:
            raise TooManyOverdue
        loop = self._own_loop()
        with _steadily(loop):
            task = loop.create_task(_reply(self._callable(method)(request, metadata=headers)))
        self._pending.add(task)
        task.add_done_callback(self._done)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            self._overdue |= {task} & self._pending
        if not task.done():
            raise Overdue
        return task.result()

    def refuse(self) -> None:
        """Sends nothing any more; what is under way goes on."""
        self._closing = True

    async def close(self, timeout_s: float = LINGER_S) -> None:
        """Refuses further calls, and closes the channel once none is under way; waits for that so long at most."""
        self.refuse()
        if self._pending:
            await asyncio.wait(self._pending, timeout=max(0.0, timeout_s))
        if self._channel is not None and not self._pending:
            await self._channel.close()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        running = asyncio.get_running_loop()
        self._loop = self._loop or running
        if self._loop is not running:
            raise InvalidRequest("this client was first used in another event loop; make one in each")
        return running

    def _callable(self, method: Method) -> Any:
        if self._channel is None:
            self._channel = (
                grpc.aio.insecure_channel(self._url, OPTIONS)
                if self._security is None
                else grpc.aio.secure_channel(self._url, self._security.credentials, self._security.options)
            )
        if method not in self._methods:
            parse: Callable[[bytes], Any] = method.reply.FromString
            self._methods[method] = self._channel.unary_unary(method.path, written, parse)
        return self._methods[method]

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._pending.discard(task)
        self._overdue.discard(task)
        if not task.cancelled():
            # It may be that nobody waits for it any more.
            task.exception()


async def close_all(every: Iterable[AsyncCalls]) -> None:
    """Closes all of them, and waits for their calls under way up to `LINGER_S` in all."""
    end, every = time.monotonic() + LINGER_S, list(every)
    for calls in every:
        calls.refuse()
    for calls in every:
        await calls.close(end - time.monotonic())


async def _reply(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise Failed(error.code().name, str(error.details())) from error
