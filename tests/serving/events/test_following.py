"""A stream followed into a running server: consumer, server and store are killed, and every event is there once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.user_events import add_user_events
from loadtest.live.valkey_server import ValkeyServer, valkey_server
from recserve_client import Client
from serving.events.following import Followed, Following
from serving.events.pushing import Pusher
from serving.events.source import SourceError, ValkeyStream
from serving.histories.facts import Facts
from serving.histories.histories import Histories
from serving.histories.keys import Whose
from serving.histories.opening import open_histories
from serving.ids import IdMap
from serving.server import ServerOptions, TritonServer

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(20)]
USERS = [f"user {number}" for number in range(20)]
FACTS = Facts(dataset="shop", users="string", items=IdMap(ids=np.arange(1, 1001)), ticks=1, most=1000)
NOW = int(time.time())


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as one:
        Histories(open_histories(one.url)).register(FACTS)
        yield one


@pytest.fixture(scope="module")
def server(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("followed")
    add_user_events(folder / "repository")
    options = ServerOptions(log=folder / "log", histories=valkey.url)
    with TritonServer(folder / "repository", options) as one:
        yield one


@pytest.fixture
def said() -> list[str]:
    """What one who follows reports."""
    return []


@pytest.fixture
def following(
    valkey: ValkeyServer, server: TritonServer, request: pytest.FixtureRequest, said: list[str]
) -> Iterator[Following]:
    stream = ValkeyStream(f"{valkey.url}/{request.node.name}", "one")
    with Client(server.url, deadline_s=30.0) as client:
        yield Following(stream, Pusher(client, "shop"), said.append)
    stream.close()


def add(valkey: ValkeyServer, stream: str, **fields: object) -> str:
    return valkey.client().xadd(stream, {name: str(value) for name, value in fields.items()}).decode()


def pending(valkey: ValkeyServer, stream: str) -> int:
    return valkey.client().xpending(stream, "recserve")["pending"]


def items(valkey: ValkeyServer, user: str) -> list[int]:
    (found,) = Histories(open_histories(valkey.url)).of([Whose("shop", user)])
    return [] if found is None else found.items.tolist()


def test_entries_are_events_and_what_is_none_is_kept_for_people(
    valkey: ValkeyServer, following: Following, request: pytest.FixtureRequest, said: list[str]
) -> None:
    stream = request.node.name
    add(valkey, stream, user="anna", item=1, time=NOW)
    add(valkey, stream, user="anna", item=2, time=NOW + 1, value=4.5, order=7, event_id="mine")
    add(valkey, stream, user="anna", item=2, time=NOW + 1, value=4.5, order=7, event_id="mine")
    bad = [
        add(valkey, stream, **fields)
        for fields in (
            {"item": 1},
            {"user": "a", "item": 1, "time": "noon"},
            {"user": "a", "item": 5000, "time": NOW},
            {"user": "a\0b", "item": 1, "time": NOW},
            {"user": "a" * 2000, "item": 1, "time": NOW},
            {"user": "a", "item": 1, "time": NOW, "value": "1e999"},
            {"user": "a", "item": 1, "time": 2**63},
        )
    ]
    bad.append(valkey.client().xadd(stream, {"user": b"\xff", "item": "1", "time": "1"}).decode())
    assert following.step() == Followed(3, 8)
    assert following.step() == Followed(0, 0)
    assert items(valkey, "anna") == [1, 2]
    assert pending(valkey, stream) == 0
    kept = [fields for _, fields in valkey.client().xrange(f"{stream}:refused")]
    assert {one[b"entry"].decode() for one in kept} == {*bad}
    reasons = " ".join(one[b"refused"].decode() for one in kept)
    assert all(part in reasons for part in ("no field user", "are numbers", "5000 is no item of shop", "no UTF-8"))
    assert "8 refused" in said[0]


def test_what_another_consumer_left_is_taken_over(
    valkey: ValkeyServer, following: Following, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = request.node.name
    add(valkey, stream, user="berta", item=3, time=NOW)
    dead = ValkeyStream(f"{valkey.url}/{stream}", "dead")
    assert len(dead.read(10)) == 1
    dead.close()
    assert following.step() == Followed(0, 0), "it may still be at work"
    monkeypatch.setattr("serving.events.source._IDLE_MS", 1)
    time.sleep(0.01)
    assert following.step() == Followed(1, 0)
    assert items(valkey, "berta") == [3]
    assert pending(valkey, stream) == 0


def test_events_wait_for_a_store_that_was_wiped_until_it_is_loaded_again(
    valkey: ValkeyServer,
    server: TritonServer,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    stream = request.node.name
    add(valkey, stream, user="carla", item=4, time=NOW)
    with Client(server.url, deadline_s=30.0) as client:
        following = Following(ValkeyStream(f"{valkey.url}/{stream}", "one"), Pusher(client, "lost"), said.append)
        assert following.step().waits == "no events of data set 'lost' are taken here: recserve events load lost"
        assert pending(valkey, stream) == 1, "what is not taken is not confirmed"
        assert not valkey.client().exists(f"{stream}:refused"), "the event is right"
        Histories(open_histories(valkey.url)).register(replace(FACTS, dataset="lost"))
        monkeypatch.setattr("serving.events.source._IDLE_MS", 1)
        time.sleep(0.01)
        assert following.step() == Followed(1, 0)
    assert said == ["waiting: no events of data set 'lost' are taken here: recserve events load lost"]


def test_a_url_of_no_stream_is_refused() -> None:
    for url in ("valkey://host:1/0", "kafka://host/0/x", "valkey://host:1/x/y"):
        with pytest.raises(ValueError, match="names no stream of events; write valkey://host:port/0/STREAM"):
            ValkeyStream(url, "one")
    with pytest.raises(SourceError, match="is a Valkey running there"):
        ValkeyStream("valkey://127.0.0.1:9/0/events", "one")


def follow(valkey: ValkeyServer, server: TritonServer) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "recserve", "events", "follow", f"{valkey.url}/faults", "--dataset", "shop"]
    return subprocess.Popen([*command, "--url", server.url, "--consumer", "one"], stdout=subprocess.DEVNULL)


def test_consumer_server_and_store_are_killed_and_every_event_is_there_once(
    valkey: ValkeyServer, server: TritonServer, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    sent: dict[str, list[int]] = {user: [] for user in USERS}
    consumer, end = follow(valkey, server), time.monotonic() + 120
    try:
        for round_number, fault in enumerate(("consumer", "server", "store", "stub")):
            for number in range(150):
                user = USERS[random.integers(len(USERS))]
                item = round_number * 150 + number + 1
                sent[user].append(item)
                for _ in range(1 + (number % 5 == 0)):
                    add(valkey, "faults", user=user, item=item, time=NOW + item, event_id=f"event {item}")
            while sum(len(items(valkey, user)) for user in USERS) < round_number * 150 + 20:
                assert time.monotonic() < end
                time.sleep(0.01)
            if fault == "consumer":
                consumer.send_signal(signal.SIGKILL)
                consumer.wait()
                consumer = follow(valkey, server)
            elif fault == "store":
                valkey.kill()
                time.sleep(0.3)
                valkey.start()
            else:
                if fault == "server":
                    os.kill(server.process.pid, signal.SIGKILL)
                else:
                    subprocess.run(
                        ["pkill", "-9", "-f", f"triton_python_backend_stub.*{server.repository}"], check=True
                    )
                while server.fault is None:
                    time.sleep(0.05)
                server.restart()
        while any(items(valkey, user) != sent[user] for user in USERS):
            assert time.monotonic() < end, {user: (items(valkey, user), sent[user]) for user in USERS}
            time.sleep(0.05)
    finally:
        consumer.terminate()
        consumer.wait()
    assert sum(map(len, sent.values())) == 600
