"""One suite for every store of user states: what is written is read, of the very weights and history."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from loadtest.live.valkey_server import valkey_server
from serving.state import open_store
from serving.state.record import encode_key
from serving.state.states import Store
from serving.state.store import StateStore
from tests.serving.state.test_store import STAMP, assert_is_state_of, entry, flip_stored_byte, lookup


@pytest.fixture(scope="module", params=["lmdb", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Gives URLs of empty stores."""
    folder = tmp_path_factory.mktemp("states")
    if request.param == "lmdb":
        numbers = iter(range(1000))
        yield lambda: f"lmdb://{folder}/{next(numbers)}?max_bytes=10000000"
        return
    with valkey_server(folder, appendonly="no") as one:

        def emptied() -> str:
            one.client().flushall()
            return f"{one.url}?ttl_s=60"

        yield emptied


@pytest.fixture
def url(server: Callable[[], str]) -> str:
    return server()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as one:
        yield one


def flip(store: Store, user: int) -> None:
    """Damages one stored value."""
    if isinstance(store, StateStore):
        flip_stored_byte(store, user)
        return
    key = b"recserve:s:" + encode_key(lookup(user).key)
    client = store._client  # pyright: ignore[reportAttributeAccessIssue]
    value = bytearray(client.get(key))
    value[60] ^= 0x40
    client.set(key, bytes(value))


def test_what_is_written_is_read_by_who_opens_the_store_later(url: str) -> None:
    with closing(open_store(url)) as one:
        assert one.get_many([]) == []
        assert one.put_many([]) == 0
        assert one.put_many([entry(user) for user in (5, -1, 7)]) == 0
    with closing(open_store(url)) as other:
        reads = other.get_many([lookup(7), lookup(6), lookup(-1)])
        assert_is_state_of(reads[0], 7)
        assert reads[1].outcome == "miss"
        assert_is_state_of(reads[2], -1)
        assert reads[2].time_ms is not None


def test_another_model_and_other_weights_are_misses_and_another_digest_is_stale(store: Store) -> None:
    store.put_many([entry(5)])
    asked = [lookup(5, stamp=STAMP + 1), lookup(5, model="user_state_2"), lookup(5)._replace(digest=b"digest01")]
    reads = store.get_many(asked)
    assert [read.outcome for read in reads] == ["miss", "miss", "stale"]
    assert all(read.arrays is None for read in reads)


def test_a_damaged_value_is_corrupt_and_its_neighbours_are_not(store: Store) -> None:
    store.put_many([entry(user) for user in range(3)])
    flip(store, 1)
    assert [read.outcome for read in store.get_many([lookup(user) for user in range(3)])] == ["hit", "corrupt", "hit"]
    store.put_many([entry(1)])
    assert_is_state_of(store.get_many([lookup(1)])[0], 1)


def test_the_last_write_of_a_key_stays(store: Store) -> None:
    store.put_many([entry(5), entry(5)._replace(lookup=lookup(5)._replace(digest=b"digest01"))])
    assert store.get_many([lookup(5)])[0].outcome == "stale"


def test_states_are_counted_and_dropped_by_model_and_stamp(store: Store) -> None:
    for model, stamp in [("a*", 1), ("a*", -2), ("ab", 1)]:
        store.put_many([entry(user, model=model, stamp=stamp) for user in (3, -1, 2)])
    assert store.stat().entries == {("a*", 1): 3, ("a*", -2): 3, ("ab", 1): 3}
    assert store.drop("a*", 1) == 3
    assert store.stat().entries == {("a*", -2): 3, ("ab", 1): 3}
    assert store.drop("a*") == 3
    with pytest.raises(ValueError, match="stamp 1 of which model"):
        store.drop(stamp=1)
    assert store.drop() == 3
    assert store.stat().entries == {}
    assert store.drop() == 0
