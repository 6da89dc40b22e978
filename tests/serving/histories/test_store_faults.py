"""What a store does when it is full, gone, hung, restarted, or set up to forget."""

import signal
import time
from pathlib import Path

import pytest

from loadtest.live.valkey_server import valkey_server
from serving.histories.histories import Histories
from serving.histories.keys import Whose
from serving.histories.lmdb_store import LmdbHistories
from serving.histories.opening import open_histories
from serving.histories.store import HistoryStoreError, HistoryStoreFull
from tests.serving.histories.test_stores import ANNA, event, items


def fill(histories: Histories) -> list[Whose]:
    """Those whose events were taken until there was no room."""
    taken: list[Whose] = []

    def take() -> None:
        while True:
            whose = Whose("shop", len(taken))
            histories.append({whose: event(*range(50))})
            taken.append(whose)

    with pytest.raises(HistoryStoreFull):
        take()
    return taken


def test_a_full_lmdb_takes_nothing_and_forgets_nothing(tmp_path: Path) -> None:
    histories = Histories(LmdbHistories(tmp_path, max_bytes=1 << 20))
    taken = fill(histories)
    assert len(taken) > 100
    assert all(items(histories, whose) == [*range(50)] for whose in taken)
    assert histories.of([Whose("shop", len(taken))]) == [None]
    for whose in taken:
        histories.store.drop([whose.key])
    histories.append({ANNA: event(1)})
    assert items(histories, ANNA) == [1]


def test_a_full_valkey_takes_nothing_and_forgets_nothing(tmp_path: Path) -> None:
    with valkey_server(tmp_path, maxmemory="4mb") as server:
        histories = Histories(open_histories(server.url))
        taken = fill(histories)
        assert len(taken) > 100
        assert all(items(histories, whose) == [*range(50)] for whose in taken)


def test_a_valkey_that_may_forget_is_refused(tmp_path: Path) -> None:
    with valkey_server(tmp_path, **{"maxmemory-policy": "allkeys-lru"}) as server:
        with pytest.raises(HistoryStoreError, match="has maxmemory-policy allkeys-lru, which forgets histories"):
            open_histories(server.url)


def test_a_valkey_that_was_killed_comes_back_with_all_that_it_acknowledged(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        histories = Histories(open_histories(server.url))
        histories.append({ANNA: event(1, 2)})
        server.kill()
        with pytest.raises(HistoryStoreError, match="is a Valkey running there"):
            histories.append({ANNA: event(3)})
        server.start()
        assert items(histories, ANNA) == [1, 2]
        assert histories.append({ANNA: event(2, 3)}) == {ANNA: ["duplicate", "applied"]}, "its scripts are loaded anew"
        assert items(histories, ANNA) == [1, 2, 3]


def test_a_valkey_that_hangs_is_given_up_in_time_and_not_opened(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        histories = Histories(open_histories(server.url))
        histories.append({ANNA: event(1)})
        server.send(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(HistoryStoreError, match="Timeout"):
            histories.of([ANNA])
        with pytest.raises(HistoryStoreError, match="Timeout"):
            open_histories(server.url)
        assert time.monotonic() - begun < 10
        server.send(signal.SIGCONT)
        assert items(histories, ANNA) == [1]


def test_nobody_at_the_address_is_told_without_the_password() -> None:
    with pytest.raises(HistoryStoreError, match=r"^valkey://127.0.0.1:9/0 failed") as raised:
        open_histories("valkey://me:secret@127.0.0.1:9/0")
    assert "secret" not in str(raised.value)


def test_a_damaged_history_is_told_by_name(tmp_path: Path) -> None:
    histories = Histories(LmdbHistories(tmp_path))
    histories.append({ANNA: event(1)})
    histories.store.update([ANNA.key], lambda _, value: None if value is None else value[:-1] + bytes([value[-1] ^ 1]))
    with pytest.raises(HistoryStoreError, match=r"user anna of shop is damaged.*push its events again"):
        histories.of([ANNA])
    berta = Whose("shop", "berta")
    assert histories.append({ANNA: event(2), berta: event(2)}) == {ANNA: ["unreadable"], berta: ["applied"]}
