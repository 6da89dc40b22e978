"""Events through a real server: what is acknowledged is in the store, once, and what is wrong is refused by name."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from export import lint
from export.parity import ParityOptions, walk
from export.user_events import add_user_events
from loadtest.live.valkey_server import valkey_server
from recserve_client.errors import InvalidRequest, ServingError
from serving.admin import Admin
from serving.events.pushing import Pusher, Row
from serving.histories.facts import Facts
from serving.histories.histories import Histories
from serving.histories.keys import Whose
from serving.histories.opening import histories_beside, open_histories
from serving.histories.pushed import MOST
from serving.ids import IdMap
from serving.server import ServerOptions, TritonServer

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(15)]
NOW = int(time.time())
SHOP = Facts(dataset="shop", users="string", items=IdMap(ids=np.array(["a", "b", "c"], object)), ticks=1, most=50)
NUMBERED = Facts(dataset="numbered", users="int64", items=IdMap(ids=np.arange(1, 41)), ticks=None, most=50)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events") / "repository"
    assert add_user_events(folder)
    assert not add_user_events(folder), "once"
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    histories = Histories(open_histories(histories_beside(repository)))
    histories.register(SHOP)
    histories.register(NUMBERED)
    histories.close()
    with TritonServer(repository, ServerOptions(log=repository.parent / "log")) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[Admin]:
    with Admin(server.url, deadline_s=30.0) as one:
        yield one


@pytest.fixture
def histories(server: TritonServer) -> Iterator[Histories]:
    """As another process sees them."""
    one = Histories(open_histories(server.histories))
    yield one
    one.close()


def test_the_model_passes_the_linter_and_the_ladder(repository: Path) -> None:
    assert lint.check(repository) == []
    ladder = walk(repository, ParityOptions(requests=32))
    assert ladder.ok, ladder.rows


def rows(user: str, *items: str) -> list[Row]:
    return [Row(user, item, 1.0, NOW + place, 0, f"{user}-{place}") for place, item in enumerate(items)]


def items(histories: Histories, dataset: str, user: int | str) -> list:
    (found,) = histories.of([Whose(dataset, user)])
    return [] if found is None else found.items.tolist()


def test_what_is_acknowledged_is_in_the_store_and_a_repeated_push_changes_nothing(
    client: Admin, histories: Histories
) -> None:
    pusher = Pusher(client, "shop")
    assert pusher.push(rows("anna", "a", "b", "a")) == ["applied"] * 3
    assert items(histories, "shop", "anna") == ["a", "b", "a"]
    assert pusher.push(rows("anna", "a", "b", "a", "c")) == ["duplicate"] * 3 + ["applied"]
    assert items(histories, "shop", "anna") == ["a", "b", "a", "c"]
    assert pusher.counts == {"applied": 4, "duplicate": 3}


def test_whole_numbers_are_ids_of_their_own_kind(client: Admin, histories: Histories) -> None:
    told = Pusher(client, "numbered").push([Row("-7", "40", 2.0, 3, 0, "x"), Row("07", "1", 2.0, 3, 0, "y")])
    assert told == ["applied", told[1]]
    assert "user_id is no id of numbered: send a whole number" in told[1]
    assert items(histories, "numbered", -7) == [40]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"item": "d"}, "item_id d is no item of shop"),
        ({"item": ""}, "item_id is no id of shop"),
        ({"user": ""}, "user_id is no id of shop: send text that is not empty"),
        ({"user": "a\0b"}, "user_id is no id of shop"),
        ({"value": float("nan")}, "value is nan: send a finite number"),
        ({"time": NOW + 200_000}, "lies in the future"),
        ({"event_id": ""}, "event_id is empty or no text"),
        ({"event_id": "berta-0", "item": "b"}, "event_id names another event of this user"),
        ({"time": NOW - 100_000}, "time goes backwards, more than 86400 s behind the newest event"),
    ],
)
def test_a_bad_event_is_refused_by_name_and_keeps_no_other_from_being_taken(
    client: Admin, histories: Histories, wrong: dict, why: str
) -> None:
    pusher = Pusher(client, "shop")
    pusher.push(rows("berta", "a"))
    before = items(histories, "shop", "berta")
    good = Row("carla", "a", 1.0, NOW, 0, f"good {why}")
    request = pusher._request([Row("berta", "a", 1.0, NOW + 1, 0, f"bad {why}")._replace(**wrong), good])
    request["user_id"] = np.array([[one.encode() for one in request["user_id"][0]]], object)
    told = client.infer("user_events", request)["outcome"][0].tolist()
    assert told[0].startswith("refused: ")
    assert why in told[0]
    assert told[1] == "applied"
    assert items(histories, "shop", "berta") == before


def test_a_data_set_that_nobody_loaded_is_refused_by_name(client: Admin) -> None:
    (told,) = Pusher(client, "other").push(rows("anna", "a"))
    assert told == "refused: no events of data set 'other' are taken here: recserve events load other"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"time": np.zeros((1, 1), np.int64)}, "time has 1 elements and user_id 2"),
        ({"dataset": np.array([["shop"], ["shop"]], object)}, "dataset"),
        ({"user_id": None}, "expected 7 inputs but got 6"),
    ],
)
def test_a_push_that_is_no_push_is_refused_as_a_whole(client: Admin, change: dict, why: str) -> None:
    request = Pusher(client, "shop")._request(rows("dora", "a", "b")) | change
    request = {name: array for name, array in request.items() if array is not None}
    with pytest.raises(ServingError, match=why):
        client.infer("user_events", request)
    assert Pusher(client, "shop").push(rows("dora", "a"))[0] in ("applied", "duplicate"), "it goes on"


def test_too_many_events_at_once_are_refused_and_the_pusher_splits_them(client: Admin, histories: Histories) -> None:
    many = [Row("emma", "a", 1.0, NOW, number, f"emma {number}") for number in range(MOST + 1)]
    with pytest.raises(InvalidRequest, match=f"at most {MOST}"):
        client.infer("user_events", Pusher(client, "shop")._request(many))
    told = Pusher(client, "shop").push(many)
    assert told.count("applied") == 51
    assert told.count("dropped") == MOST - 50
    assert len(items(histories, "shop", "emma")) == 50


def test_pushes_of_many_clients_are_batched_and_none_is_lost_or_doubled(client: Admin, histories: Histories) -> None:
    users = [f"user {number}" for number in range(8)]

    def push(number: int) -> list[str]:
        mine = [Row(user, "abc"[number % 3], 1.0, NOW + number // 2, 0, f"{number // 2}") for user in users]
        return Pusher(client, "shop").push([one._replace(item="abc"[number // 2 % 3]) for one in mine])

    before = client.statistics("user_events")
    with ThreadPoolExecutor(16) as pool:
        told = [one for outcomes in pool.map(push, range(80)) for one in outcomes]
    assert told.count("applied") == told.count("duplicate") == 40 * len(users)
    expected = ["abc"[number % 3] for number in range(40)]
    assert [items(histories, "shop", user) for user in users] == [expected] * len(users)
    after = client.statistics("user_events")
    assert after.executions - before.executions < after.requests - before.requests


def test_events_are_counted_by_what_came_of_them(server: TritonServer, client: Admin) -> None:
    import urllib.request

    Pusher(client, "shop").push([*rows("fanny", "a", "d"), *rows("fanny", "a")])
    time.sleep(0.3)
    text = urllib.request.urlopen(server.metrics_url).read().decode()
    counts = {
        line.split('outcome="')[1].split('"')[0]: float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("recserve_user_events_total{")
    }
    assert counts["applied"] > 0 < counts["duplicate"]
    assert counts["unknown_item"] > 0
    assert counts["unreadable"] == 0


def test_two_servers_on_one_valkey_know_the_same_and_a_push_waits_for_a_store_that_is_away(
    repository: Path, tmp_path: Path
) -> None:
    with valkey_server(tmp_path / "valkey") as valkey:
        Histories(open_histories(valkey.url)).register(SHOP)
        options = [ServerOptions(log=tmp_path / f"log{n}", histories=valkey.url) for n in range(2)]
        with TritonServer(repository, options[0]) as one, TritonServer(repository, options[1]) as two:
            with one.client() as first, two.client() as second:
                assert Pusher(first, "shop").push(rows("anna", "a")) == ["applied"]
                assert Pusher(second, "shop").push(rows("anna", "a", "b")) == ["duplicate", "applied"]
                valkey.kill()
                with pytest.raises(ServingError, match="push the same events again"):
                    Pusher(first, "shop", patience_s=0.0).push(rows("anna", "a", "b", "c"))
                with ThreadPoolExecutor(1) as pool:
                    waiting: list[str] = []
                    pushed = pool.submit(Pusher(first, "shop", waiting=waiting.append).push, rows("anna", *"abca"))
                    time.sleep(0.5)
                    valkey.start()
                    assert pushed.result() == ["duplicate"] * 2 + ["applied"] * 2
                    assert waiting
        assert items(Histories(open_histories(valkey.url)), "shop", "anna") == [*"abca"]
