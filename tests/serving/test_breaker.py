"""A store that hangs costs one request one time limit, and is used again once it answers."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtest.live.valkey_server import ValkeyServer, valkey_server
from serving.breaker import PROBE_S
from serving.histories.guard import GuardedHistories
from serving.histories.store import HistoryStoreError
from serving.state.guard import GuardedStore
from serving.valkey_client import READ_TIMEOUT_S
from tests.serving.state.test_store import entry, lookup

PATIENCE_S = 20.0


class States:
    """A state store, asked for one user."""

    def __init__(self, url: str) -> None:
        self.said: list[str] = []
        self.store = GuardedStore(url, self.said.append)
        self.store.put_many([entry(1)])

    def ask(self) -> bool:
        reads = self.store.get_many([lookup(1)])
        return reads is not None and reads[0].outcome == "hit"


class Histories:
    """A store of histories, asked for one key."""

    def __init__(self, url: str) -> None:
        self.store = GuardedHistories(url)
        self.ask()

    def ask(self) -> bool:
        try:
            self.store.get_many([b"key"])
        except HistoryStoreError:
            return False
        return True


Kind = type[States] | type[Histories]


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path, appendonly="no", save="") as one:
        yield one


def wait_for(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


def probing() -> int:
    return sum(one.name.endswith("(_probe)") for one in threading.enumerate())


@pytest.mark.parametrize("kind", [States, Histories])
def test_one_request_waits_for_a_hung_store_and_no_other(valkey: ValkeyServer, kind: Kind) -> None:
    one = kind(valkey.url)
    assert one.ask()
    valkey.send(signal.SIGSTOP)
    assert not one.ask()
    slow, end = 0, time.monotonic() + 4 * (PROBE_S + READ_TIMEOUT_S)
    while time.monotonic() < end:
        begun = time.thread_time(), time.monotonic()
        assert not one.ask()
        slow += time.monotonic() - begun[1] > READ_TIMEOUT_S / 2
        time.sleep(0.002)
    assert slow <= 1, "a busy machine may take one"
    valkey.send(signal.SIGCONT)
    wait_for(one.ask)
    one.store.close()


@pytest.mark.parametrize("kind", [States, Histories])
def test_a_store_that_was_killed_is_found_again(valkey: ValkeyServer, kind: Kind) -> None:
    one = kind(valkey.url)
    valkey.kill()
    assert not one.ask()
    assert not one.ask()
    valkey.start()
    wait_for(lambda: isinstance(one, Histories) or one.store.put_many([entry(1)]).outcome == "written")
    wait_for(one.ask)
    wait_for(lambda: not probing())
    one.store.close()


@pytest.mark.parametrize("kind", [States, Histories])
def test_the_thread_ends_with_the_store(valkey: ValkeyServer, kind: Kind) -> None:
    one = kind(valkey.url)
    valkey.send(signal.SIGSTOP)
    assert not one.ask()
    assert probing() == 1
    one.store.close()
    wait_for(lambda: not probing())
    valkey.send(signal.SIGCONT)
    assert one.ask(), "it is opened anew"
    one.store.close()


def test_a_process_starts_without_its_store_and_finds_it(valkey: ValkeyServer) -> None:
    valkey.kill()
    one = States(valkey.url)
    assert not one.ask()
    assert len(one.said) == 1
    assert "is a Valkey running there?; requests go on" in one.said[0]
    valkey.start()
    wait_for(lambda: one.store.put_many([entry(1)]).outcome == "written")
    assert one.ask()
    one.store.close()


def test_who_fails_again_soon_is_asked_less_often(valkey: ValkeyServer) -> None:
    one = States(valkey.url)
    breaker = one.store._breaker
    assert breaker is not None
    pauses = []
    for _ in range(3):
        valkey.send(signal.SIGSTOP)
        assert not one.ask()
        pauses.append(breaker._pause_s)
        valkey.send(signal.SIGCONT)
        wait_for(one.ask)
    assert pauses == [PROBE_S, 2 * PROBE_S, 4 * PROBE_S]
    one.store.close()
