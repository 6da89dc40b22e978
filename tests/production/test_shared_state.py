"""Two servers share users' states in one Valkey, one of them over TLS: what the one wrote the other reads, and whatever
happens to the store, no request fails and every answer is right."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import trustme
import valkey

from loadtest.live.valkey_server import ValkeyServer
from loadtest.served import children, command, until
from serving.server import ServerOptions, TritonServer
from serving.steps.state_counters import READ_OUTCOMES, WRITE_OUTCOMES
from serving.valkey_client import PASSWORD
from tests.production.certificates import issued
from tests.production.metrics import read
from tests.production.tls_front import tls_front
from tests.serving.state_models import USERS, publish_ranker, scores_of

pytestmark = [pytest.mark.production, pytest.mark.slow(40)]
SECRET = "0pen-sesame"
CANDIDATES = np.arange(1, 6)
ROUNDS = 2
"""In which all users are asked, while the store is away."""


class Store(ValkeyServer):
    """One that asks for a password."""

    def client(self) -> valkey.Valkey:
        return valkey.Valkey(port=self.port, password=SECRET)


class Asked:
    """One server, asked for all users in rounds."""

    def __init__(self, server: TritonServer) -> None:
        self.server = server
        self.client = server.client(30.0)
        self.failed = self.wrong = self.right = 0

    def round(self) -> Counter[str]:
        """What came of the store, reads and writes, by outcome; each answer is compared."""
        before = self._counts()
        for user in USERS:
            try:
                inputs = {"user_id": np.array([[user]]), "candidates": CANDIDATES[np.newaxis]}
                answer = self.client.infer("ranker", inputs)["scores"]
            except Exception:
                self.failed += 1
            else:
                is_right = np.array_equal(answer[0], scores_of(int(user), CANDIDATES))
                self.right += is_right
                self.wrong += not is_right
        # Counts reach the metrics a moment after the answers.
        until(lambda: sum(self._since(before)[outcome] for outcome in READ_OUTCOMES) >= len(USERS))
        return self._since(before)

    def until_hits(self) -> Counter[str]:
        """Rounds until one finds all states, added up: a machine under load now and then lets an answer of the store
        come too late, which counts as its error."""
        found = Counter[str]()
        until(lambda: found.update(last := self.round()) or last["hit"] == len(USERS))
        return found

    def _since(self, before: Counter[str]) -> Counter[str]:
        now = self._counts()
        return Counter({outcome: number - before[outcome] for outcome, number in now.items()})

    def _counts(self) -> Counter[str]:
        url, found = self.server.metrics_url, Counter[str]()
        for name, outcomes in (("reads", READ_OUTCOMES), ("writes", WRITE_OUTCOMES)):
            for outcome in outcomes:
                found[outcome] = int(read(url, f"recserve_user_state_{name}_total", outcome=outcome))
        return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    one = Store(tmp_path_factory.mktemp("valkey"), appendonly="no", requirepass=SECRET)
    one.start()
    yield one
    one.kill()


@pytest.fixture(scope="module")
def pair(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asked, Asked]]:
    """A, with the password from its environment, and B, over TLS and with the password in its URL."""
    folder = tmp_path_factory.mktemp("pair")
    publish_ranker(folder / "models")
    authority = trustme.CA()
    issued(folder, "localhost", authority=authority)
    authority.cert_pem.write_to_path(str(folder / "authority.crt"))
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(PASSWORD, SECRET)
        port = stack.enter_context(tls_front(store.port, folder))
        urls = {
            "a": store.url,
            "b": f"valkeys://:{SECRET}@localhost:{port}/0?ssl_ca_certs={folder / 'authority.crt'}",
        }
        pair = []
        for name, url in urls.items():
            options = ServerOptions(state=url, log=folder / f"{name}.log", check_golden=False)
            pair.append(Asked(stack.enter_context(TritonServer(folder / "models", options))))
            stack.callback(pair[-1].client.close)
        yield pair[0], pair[1]


@pytest.fixture(autouse=True)
def _no_request_fails_and_every_answer_is_right(pair: tuple[Asked, Asked], store: Store) -> Iterator[None]:
    yield
    for one in pair:
        assert (one.failed, one.wrong) == (0, 0)
        assert one.right > 0


def both_hit(pair: tuple[Asked, Asked]) -> None:
    """Returns once each finds all states, as it does a moment after the store is back."""
    for one in pair:
        one.until_hits()


def test_one_reads_what_the_other_wrote(pair: tuple[Asked, Asked], store: Store) -> None:
    a, b = pair
    store.client().flushall()
    assert a.until_hits()["written"] >= len(USERS)
    found = b.until_hits()
    assert found["miss"] == found["written"] == 0, "nothing is computed a second time"
    assert store.client().dbsize() == len(USERS)


def test_a_store_that_hangs_is_done_without(pair: tuple[Asked, Asked], store: Store) -> None:
    both_hit(pair)
    store.send(signal.SIGSTOP)
    try:
        for one in pair:
            found = sum((one.round() for _ in range(ROUNDS)), Counter[str]())
            assert found["store_error"] == ROUNDS * len(USERS)
            assert found["hit"] == found["written"] == 0
    finally:
        store.send(signal.SIGCONT)
    both_hit(pair)


def test_a_store_that_is_killed_comes_back_empty_and_is_filled_once(pair: tuple[Asked, Asked], store: Store) -> None:
    both_hit(pair)
    store.kill()
    for one in pair:
        assert sum((one.round() for _ in range(ROUNDS)), Counter[str]())["store_error"] == ROUNDS * len(USERS)
    store.start()
    both_hit(pair)
    assert store.client().dbsize() == len(USERS)


def test_a_store_that_is_full_takes_no_state_and_gives_those_it_has(pair: tuple[Asked, Asked], store: Store) -> None:
    both_hit(pair)
    store.client().config_set("maxmemory-policy", "noeviction")
    store.client().config_set("maxmemory", 1)
    both_hit(pair)  # reads go on
    store.client().flushall()
    for one in pair:
        found = sum((one.round() for _ in range(ROUNDS)), Counter[str]())
        assert found["miss"] > found["written"] == 0
        assert found["failed"] >= found["miss"]
    assert store.client().dbsize() == 0
    store.client().config_set("maxmemory", 0)
    both_hit(pair)


def test_a_store_that_is_wiped_is_filled_again(pair: tuple[Asked, Asked], store: Store) -> None:
    both_hit(pair)
    store.client().flushall()
    a, b = pair
    assert b.until_hits()["written"] >= len(USERS)
    assert a.until_hits()["miss"] == 0


def test_the_password_is_told_nowhere(pair: tuple[Asked, Asked], store: Store) -> None:
    """Last, after all that went wrong."""
    both_hit(pair)
    client = store.client()
    client.config_set("requirepass", "another")
    client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
    for one in pair:
        assert one.round()["store_error"] == len(USERS)
    client.config_set("requirepass", SECRET)
    both_hit(pair)
    for one in pair:
        said = one.server.log.read_text()
        assert "the user states in valkey" in said, "the trouble itself is told"
        for text in (said, *(" ".join(command(one)) for one in processes(one.server))):
            assert SECRET not in text


def processes(server: TritonServer) -> list[int]:
    return [server.process.pid, *children(server.process.pid)]
