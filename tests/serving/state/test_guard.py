import os
import shutil
import time
from pathlib import Path

import pytest

from serving import breaker
from serving.state import url_of
from serving.state.guard import GuardedStore
from serving.state.states import Read
from serving.state.store import StateStore
from tests.serving.state.test_store import assert_is_state_of, entry, lookup


def outcome(store: GuardedStore, user: int = 1) -> str:
    reads = store.get_many([lookup(user)])
    return "store_error" if reads is None else reads[0].outcome


def test_without_a_path_every_read_is_a_miss_and_that_is_said_once():
    said: list[str] = []
    store = GuardedStore(None, said.append)
    assert store.put_many([entry(1)]) == ("no_store", 0)
    assert store.get_many([lookup(1), lookup(2)]) == [Read("miss"), Read("miss")]
    assert len(said) == 1
    assert "RECSERVE_STATE is not set" in said[0]


def test_what_is_written_is_read_after_closing_and_opening(tmp_path: Path):
    store = GuardedStore(url_of(tmp_path / "state"), pytest.fail)
    assert store.put_many([entry(1)]) == ("written", 0)
    store.close()
    assert outcome(store) == "hit"
    store.close()


def test_a_damaged_file_is_set_aside_and_a_new_store_is_used(tmp_path: Path):
    said: list[str] = []
    (tmp_path / "data.mdb").write_bytes(b"\x55" * 50_000)
    store = GuardedStore(url_of(tmp_path), said.append)
    assert outcome(store) == "miss"
    assert store.put_many([entry(1)]) == ("written", 0)
    assert outcome(store) == "hit"
    assert len(said) == 1
    assert "moved to" in said[0]
    assert (tmp_path / "data.mdb.corrupt").stat().st_size == 50_000
    store.close()


def test_a_file_cut_short_while_open_costs_one_read(tmp_path: Path):
    said: list[str] = []
    store = GuardedStore(url_of(tmp_path), said.append)
    store.put_many([entry(user) for user in range(100)])
    os.truncate(tmp_path / "data.mdb", 8192)
    assert outcome(store) == "store_error"
    assert outcome(store) == "miss"
    assert store.put_many([entry(1)]) == ("written", 0)
    reads = store.get_many([lookup(1)])
    assert reads is not None
    assert_is_state_of(reads[0], 1)
    store.close()


def test_a_directory_removed_while_open_costs_one_read_and_is_made_again(tmp_path: Path):
    said: list[str] = []
    store = GuardedStore(url_of(tmp_path / "state"), said.append)
    store.put_many([entry(1)])
    shutil.rmtree(tmp_path / "state")
    assert [outcome(store), store.put_many([entry(1)]).outcome, outcome(store)] == ["store_error", "written", "hit"]
    assert len(said) == 1
    assert "is gone" in said[0]
    store.close()


def test_a_store_that_another_process_replaced_is_opened_anew(tmp_path: Path):
    store = GuardedStore(url_of(tmp_path / "state"), lambda text: None)
    store.put_many([entry(1)])
    with StateStore(tmp_path / "other") as other:
        other.put(entry(2))
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "other").rename(tmp_path / "state")
    assert [outcome(store, 2), outcome(store, 2), outcome(store, 1)] == ["store_error", "hit", "miss"]
    store.close()


def test_a_place_that_cannot_hold_a_store_is_said_once_and_tried_again(tmp_path: Path):
    said: list[str] = []
    (tmp_path / "file").write_text("no directory")
    store = GuardedStore(url_of(tmp_path / "file"), said.append)
    assert [outcome(store), store.put_many([entry(1)]).outcome, outcome(store)] == [
        "store_error",
        "failed",
        "store_error",
    ]
    assert len(said) == 1
    (tmp_path / "file").unlink()
    time.sleep(2 * breaker.PROBE_S)
    assert [store.put_many([entry(1)]).outcome, outcome(store)] == ["written", "hit"]
    store.close()
