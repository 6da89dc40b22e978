"""No call is ever cut short, whatever becomes of the task or the event loop that waits for it."""

import asyncio
import threading
import time

import pytest

from recserve_client import AsyncClient, DeadlineExceeded, InvalidRequest, ServerUnavailable, async_channels, outcomes
from tests.client.conftest import Watched, Witness


def until_ended(servicer: Witness, calls: int = 1) -> None:
    deadline = time.monotonic() + 10.0
    while len(servicer.ended) < calls:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert servicer.ended == [True] * calls, "cancelled"


def test_a_cancelled_task_ends_its_wait_and_the_call_runs_to_its_end(witness: Watched) -> None:
    servicer, url = witness

    async def ask() -> None:
        client = AsyncClient(url)
        task = asyncio.create_task(client.model_ready("any"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0.1)
        assert not closing.done(), "closing waits for the call under way"
        servicer.go_on.set()
        await closing
        with pytest.raises(ServerUnavailable, match="make a new Client"):
            await client.model_ready("any")

    asyncio.run(ask())
    until_ended(servicer)


def test_a_deadline_ends_the_wait_and_an_event_loop_that_ends_cancels_nothing(witness: Watched) -> None:
    servicer, url = witness
    client = AsyncClient(url, deadline_s=0.2)

    async def ask() -> None:
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.2 s"):
            await client.model_ready("any")
        asyncio.get_running_loop().create_task(client.model_ready("any"))
        await asyncio.sleep(0.1)

    threading.Timer(0.6, servicer.go_on.set).start()
    began = time.monotonic()
    asyncio.run(ask())
    assert time.monotonic() - began > 0.5, "the end of the loop waits for calls under way"
    until_ended(servicer, 2)
    assert all(seconds is None or seconds > 1e6 for seconds in servicer.deadlines)
    with pytest.raises(InvalidRequest, match="first used in another event loop; make one in each"):
        asyncio.run(client.model_ready("any"))


def test_the_end_of_a_loop_does_not_wait_for_ever(witness: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_channels, "LINGER_S", 0.2)

    async def ask() -> None:
        with pytest.raises(DeadlineExceeded):
            await AsyncClient(witness[1], deadline_s=0.1).model_ready("any")

    asyncio.run(ask())
    witness[0].go_on.set()


def test_calls_that_nobody_waits_for_are_bounded(witness: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    servicer, url = witness
    monkeypatch.setattr(outcomes, "MAX_OVERDUE", 3)

    async def ask() -> None:
        async with AsyncClient(url, deadline_s=5.0, retries=0) as client:
            tasks = [asyncio.create_task(client.model_ready("any")) for _ in range(3)]
            await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with pytest.raises(ServerUnavailable, match="3 calls passed their deadline and are still under way"):
                await client.model_ready("any")
            servicer.go_on.set()

    asyncio.run(ask())
    until_ended(servicer, 3)
