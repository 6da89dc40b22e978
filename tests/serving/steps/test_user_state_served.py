"""`user_state` inside a running tritonserver; the store and the counters are looked at from outside."""

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from recserve_client.errors import InvalidRequest, ServerFailure
from serving import tally
from serving.admin import Admin
from serving.server import ServerOptions, TritonServer
from serving.state.builder import build, latest, show
from serving.state.states import Entry
from serving.state.store import StateStore
from tests.serving import state_models as tiny
from tests.serving.patience import shared
from tests.serving.state.test_store import flip_stored_byte
from tests.serving.state_models import state_folder

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(50)]

CANDIDATES = np.array([[4, 0, 7]])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("served") / "models"
    tiny.publish_ranker(repository)
    return repository


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    """One server for the tests that do not stop it."""
    with TritonServer(repository, ServerOptions(check_golden=False)) as server:
        yield server


@pytest.fixture
def cold(server: TritonServer) -> TritonServer:
    """The server with an empty store."""
    with StateStore(state_folder(server)) as store:
        store.drop()
    return server


def connect(server: TritonServer) -> Admin:
    """A client with a deadline that a loaded machine keeps."""
    return Admin(server.url, deadline_s=30.0, admin_key=server.admin_key)


def assert_ranked(client: Admin, *users: int) -> None:
    for user in users:
        answer = client.infer("ranker", {"user_id": np.array([[user]]), "candidates": CANDIDATES})
        np.testing.assert_array_equal(answer["scores"], tiny.scores_of(user, CANDIDATES))


def _of_states(page: str) -> str:
    return "\n".join(line for line in page.splitlines() if line.startswith("recserve_user_state_"))


def counts(server: TritonServer) -> Counter[str]:
    """Reads and writes so far, by outcome, as Prometheus sees them once they have arrived."""
    text, before = "", "unread"
    while text != before:
        time.sleep(10 * tally.PERIOD_S)
        with urlopen(server.metrics_url, timeout=30) as page:
            text, before = _of_states(page.read().decode()), text
    series = re.findall(r"^recserve_user_state_(?:reads|writes)_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    labels = [(dict(re.findall(r'(\w+)="(.*?)"', found)), float(value)) for found, value in series]
    assert len({found["model"] for found, _ in labels}) == 1
    return Counter({found["outcome"]: int(value) for found, value in labels})


def test_the_first_request_of_a_user_is_a_miss_and_the_next_a_hit(cold: TritonServer):
    before = counts(cold)
    with connect(cold) as client:
        assert_ranked(client, 8)
        assert counts(cold) - before == {"miss": 1, "written": 1}
        assert_ranked(client, 8)
    assert counts(cold) - before == {"miss": 1, "written": 1, "hit": 1}
    shown = show(cold.repository, cold.state, 8)
    assert shown.state is not None
    np.testing.assert_array_equal(shown.state["keys"], tiny.keys_of(8))


@pytest.mark.parametrize("user", [4, 99999, -1, -(2**63), 2**63 - 1])
def test_a_user_without_a_history_is_scored_with_the_empty_one_and_not_stored(cold: TritonServer, user: int):
    before = counts(cold)
    with connect(cold) as client:
        answer = client.infer("ranker", {"user_id": np.array([[user]]), "candidates": CANDIDATES})
    empty = tiny.encode({"history": np.zeros((1, 4), np.int64), "length": np.zeros((1, 1), np.int64)})["keys"].sum()
    np.testing.assert_array_equal(answer["scores"], CANDIDATES.astype(np.float32) * empty)
    assert counts(cold) - before == {"no_history": 1}
    with StateStore(state_folder(cold), readonly=True) as store:
        assert store.users("user_state", tiny.STAMP) == []


def test_states_built_by_another_process_while_serving_are_hits(cold: TritonServer):
    assert build(cold.repository, cold.state, tiny.encode, lambda done, total: None).written == len(tiny.USERS)
    before = counts(cold)
    with connect(cold) as client:
        assert_ranked(client, *tiny.USERS)
    assert counts(cold) - before == {"hit": len(tiny.USERS)}


def test_a_corrupt_and_a_stale_state_are_counted_and_never_served(cold: TritonServer):
    with connect(cold) as client:
        assert_ranked(client, 8, 13)
        stale = latest(cold.repository).question(13).lookup._replace(digest=b"another ")
        with StateStore(state_folder(cold)) as store:
            flip_stored_byte(store, 8)
            wrong = {"keys": np.zeros((2, 2), np.float32), "stamp": np.array([tiny.STAMP + 1])}
            store.put(Entry(stale, wrong))
        before = counts(cold)
        assert_ranked(client, 8, 13)
        assert counts(cold) - before == {"corrupt": 1, "stale": 1, "written": 2}
        assert_ranked(client, 8, 13)
    assert counts(cold) - before == {"corrupt": 1, "stale": 1, "written": 2, "hit": 2}


def test_sixteen_clients_asking_for_the_same_cold_users_get_right_answers(cold: TritonServer):
    users = [int(user) for user in tiny.USERS]

    def ask(shift: int) -> None:
        with connect(cold) as client:
            assert_ranked(client, *users[shift % 8 :], *users[: shift % 8])

    before = counts(cold)
    with connect(cold) as client:
        statistics = client.statistics("encoder")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
        asked = client.statistics("encoder").requests - statistics.requests
    counted = counts(cold) - before
    assert counted["miss"] == counted["written"] == asked == len(users)
    assert counted["hit"] > 0
    assert set(counted) == {"miss", "written", "hit"}


@pytest.mark.parametrize(
    ("user", "candidates", "message"),
    [
        (8, [], "candidates is empty: send at least one item id"),
        (8, [1, -7], r"candidates\[1\] is -7: an item id must be at least 0"),
        (8, [1] * 51, "candidates has 51 elements, at most 50 are allowed"),
        (8, [1] * 1_000_000, "candidates has 1000000 elements, at most 50 are allowed"),
    ],
)
def test_a_wrong_request_gets_its_reason_and_the_next_a_right_answer(
    server: TritonServer, user: int, candidates: list[int], message: str
):
    with connect(server) as client:
        with pytest.raises(InvalidRequest, match=message):
            client.infer("ranker", {"user_id": np.array([[user]]), "candidates": np.array([candidates], np.int64)})
        assert_ranked(client, 8)


def test_a_wrong_request_in_a_batch_fails_alone(server: TritonServer):
    def ask(number: int) -> None:
        with connect(server) as client:
            if number % 5:
                assert_ranked(client, 8)
                return
            with pytest.raises(InvalidRequest, match="candidates is empty"):
                client.infer("ranker", {"user_id": np.array([[4]]), "candidates": CANDIDATES[:, :0]})

    def ask_all() -> int:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(ask, range(50)))
        return 40

    with connect(server) as client:
        assert shared(client, "user_state", ask_all), "no two requests shared an execution"


def test_a_store_removed_while_serving_is_made_again(cold: TritonServer):
    before = counts(cold)
    with connect(cold) as client:
        assert_ranked(client, 8)
        shutil.rmtree(state_folder(cold))
        assert_ranked(client, 8, 8)
    assert counts(cold) - before == {"miss": 1, "store_error": 1, "written": 2, "hit": 1}


@pytest.mark.parametrize("garbage", [b"garbage", b"\x55" * 300_000], ids=["short", "long"])
def test_a_store_overwritten_by_garbage_while_serving_is_set_aside(cold: TritonServer, garbage: bytes):
    before = counts(cold)
    with connect(cold) as client:
        assert_ranked(client, 8)
        (state_folder(cold) / "data.mdb").write_bytes(garbage)
        assert_ranked(client, 8, 8)
    assert counts(cold) - before == {"miss": 1, "store_error": 1, "written": 2, "hit": 1}
    assert (state_folder(cold) / "data.mdb.corrupt").read_bytes() == garbage


def test_states_outlive_the_server_and_a_damaged_store_does_not_stop_it(repository: Path, tmp_path: Path):
    options = ServerOptions(check_golden=False, state=tmp_path / "state")
    with TritonServer(repository, options) as server, connect(server) as client:
        assert_ranked(client, 8)
    with TritonServer(repository, options) as server, connect(server) as client:
        assert_ranked(client, 8)
        assert +counts(server) == {"hit": 1}
    (tmp_path / "state" / "data.mdb").write_bytes(b"\x33" * 40_000)
    with TritonServer(repository, options) as server, connect(server) as client:
        assert_ranked(client, 8, 8)
        assert +counts(server) == {"miss": 1, "written": 1, "hit": 1}
        assert "is damaged" in server.log.read_text()


def test_an_encoder_of_another_version_is_an_error_and_not_an_answer(tmp_path: Path):
    tiny.publish_ranker(tmp_path / "models", encoder_stamp=tiny.STAMP + 1)
    with TritonServer(tmp_path / "models", ServerOptions(check_golden=False)) as server, connect(server) as client:
        with pytest.raises(ServerFailure, match="encoder has stamp 78, user_state version 1 needs 77"):
            client.infer("ranker", {"user_id": np.array([[8]]), "candidates": CANDIDATES})
        assert +counts(server) == {"miss": 1}
