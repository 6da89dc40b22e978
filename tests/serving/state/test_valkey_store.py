"""What a Valkey of user states does when it hangs, is full, or is not there, and how long a state stays."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from loadtest.live.valkey_server import valkey_server
from serving.state import open_store
from serving.state.states import Entry, StateStoreError, StateStoreFull
from tests.serving.state.test_store import entry, lookup

SECRET = "MARKMARKMARK"


def test_a_state_leaves_by_itself(tmp_path: Path) -> None:
    with valkey_server(tmp_path, appendonly="no") as server:
        for url, most_s in ((server.url, 86_400), (f"{server.url}?ttl_s=1", 1)):
            store = open_store(url)
            store.put_many([entry(5)])
            (key,) = server.client().keys()
            assert most_s - 5 < server.client().ttl(key) <= most_s
        time.sleep(1.1)
        assert store.get_many([lookup(5)])[0].outcome == "miss"


def test_a_full_valkey_says_so_and_no_value(tmp_path: Path) -> None:
    with valkey_server(tmp_path, appendonly="no", maxmemory="2mb") as server:
        store = open_store(server.url)
        marked = np.frombuffer((SECRET * 800).encode(), np.int32)
        store.put_many([Entry(lookup(0), {"keys": marked})])
        entries = [Entry(lookup(user), {"keys": marked}) for user in range(1, 500)]
        with pytest.raises(StateStoreFull, match="set maxmemory-policy allkeys-lru") as raised:
            store.put_many(entries)
        assert SECRET not in str(raised.value)
        assert "SET" not in str(raised.value)
        assert len(str(raised.value)) < 400
        assert store.get_many([lookup(0)])[0].outcome == "hit"


def test_a_valkey_that_hangs_is_given_up_in_time_and_not_opened(tmp_path: Path) -> None:
    with valkey_server(tmp_path, appendonly="no") as server:
        store = open_store(server.url)
        store.put_many([entry(1)])
        server.send(signal.SIGSTOP)
        for ask in (lambda: store.get_many([lookup(1)]), lambda: store.put_many([entry(1)])):
            begun = time.monotonic()
            with pytest.raises(StateStoreError, match="Timeout"):
                ask()
            assert time.monotonic() - begun < 2, "tried once"
        with pytest.raises(StateStoreError, match="Timeout"):
            open_store(server.url)
        server.send(signal.SIGCONT)
        assert store.get_many([lookup(1)])[0].outcome == "hit"


def test_who_is_not_let_in_is_told_without_the_password(tmp_path: Path) -> None:
    with valkey_server(tmp_path, appendonly="no") as server:
        server.client().config_set("requirepass", "right")
        url = server.url.replace("//", "//:wrong-secret@")
        with pytest.raises(StateStoreError, match=r"^the user states in valkey://127.0.0.1:\d+/0 failed") as raised:
            open_store(url)
        assert "secret" not in str(raised.value)
        open_store(url.replace("wrong-secret", "right")).put_many([entry(1)])


@pytest.mark.parametrize("url", ["valkey://me:se/cret@host:1/0", "valkey://h:1/0?ttl_s=cret", "valkey://h:1/0?cret=x"])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"the URL of|in the URL of") as raised:
        open_store(url)
    assert "se/" not in str(raised.value)
