"""A store that is full stays within its bound, takes writes, and answers right: older states leave."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.state.states import Entry
from serving.state.store import StateStore
from tests.serving.state.test_store import STAMP, assert_is_state_of, entry, lookup, state_of

MAX_BYTES = 4 << 20


def large(user: int, *, stamp: int = STAMP) -> Entry:
    """Of 4 KiB, which takes pages of its own."""
    return Entry(lookup(user, stamp=stamp), state_of(user, 512))


def file_bytes(folder: Path) -> int:
    return (folder / "data.mdb").stat().st_size


@pytest.mark.parametrize(
    ("make", "number", "most_bytes"),
    [(large, 5200, MAX_BYTES), (entry, 15_000, MAX_BYTES * 9 // 8)],
    ids=["4 KiB", "600 bytes"],
)
def test_a_store_filled_times_over_stays_in_its_bound_and_answers_right(
    tmp_path: Path, make: Callable[[int], Entry], number: int, most_bytes: int
):
    users = np.random.default_rng(0).permutation(number).tolist()
    size, evicted = 32, 0
    with StateStore(tmp_path, max_bytes=MAX_BYTES) as store:
        for start in range(0, number, size):
            batch = users[start : start + size]
            evicted += store.put_many([make(user) for user in batch])
            for user, read in zip(batch, store.get_many([lookup(user) for user in batch]), strict=True):
                assert read.arrays is not None, "what was just written is there"
                np.testing.assert_array_equal(read.arrays["keys"], make(user).arrays["keys"])
            assert file_bytes(tmp_path) <= most_bytes
        left = store.users("user_state", STAMP)
        assert len(left) + evicted == number
        assert number / 30 < len(left) < number / 2
        found = store.get_many([lookup(user) for user in left])
        assert all(
            read.arrays is not None and read.arrays["keys"][0, 0] == user
            for user, read in zip(left, found, strict=True)
        )


def test_old_states_go_first_and_those_of_weights_that_nobody_writes_go_by_and_by(tmp_path: Path):
    with StateStore(tmp_path, max_bytes=MAX_BYTES) as store:
        for start in range(0, 400, 10):
            store.put_many([large(user, stamp=STAMP - 1) for user in range(start, start + 10)])
        assert len(store.users("user_state", STAMP - 1)) == 400
        for user in range(1500):
            store.put(large(user))
        assert len(store.users("user_state", STAMP - 1)) == 0
        left = store.users("user_state", STAMP)
        assert np.mean(left) > 1000, "mostly the newest are kept; of all it would be 750"


def test_the_hand_goes_round_all_keys_wherever_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.state.eviction._WINDOW", 16)
    with StateStore(tmp_path, max_bytes=MAX_BYTES) as store:
        for start in range(0, 400, 50):
            store.put_many([large(user, stamp=STAMP + 1) for user in range(start, start + 50)])
        for user in np.random.default_rng(0).permutation(1200).tolist():
            store.put(large(user))
        assert len(store.users("user_state", STAMP + 1)) < 200


def test_a_store_that_was_filled_under_another_bound_takes_writes(tmp_path: Path):
    with StateStore(tmp_path, max_bytes=3 * MAX_BYTES) as store:
        for start in range(0, 700, 50):
            store.put_many([large(user) for user in range(start, start + 50)])
    with StateStore(tmp_path, max_bytes=MAX_BYTES) as store:
        for user in range(700, 710):
            store.put(large(user))
            assert store.get(*lookup(user)).outcome == "hit"
        assert len(store.users("user_state", STAMP)) < 500


def test_the_work_of_one_write_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.state.eviction._WINDOW", 4)
    monkeypatch.setattr("serving.state.eviction._MOST_WINDOWS", 2)
    with StateStore(tmp_path, max_bytes=MAX_BYTES) as store:
        evicted = [store.put(large(user)) for user in range(600)]
        assert set(evicted) == {0, 2}
        assert_is_state_of_size(store, 599)


def assert_is_state_of_size(store: StateStore, user: int) -> None:
    read = store.get(*lookup(user))
    assert read.arrays is not None
    np.testing.assert_array_equal(read.arrays["keys"], state_of(user, 512)["keys"])


def test_an_emptied_store_is_written_again(tmp_path: Path):
    with StateStore(tmp_path, max_bytes=MAX_BYTES) as store:
        for user in range(200):
            store.put(entry(user))
        assert store.drop("user_state", STAMP) == 200
        store.put(entry(-1))
        assert_is_state_of(store.get(*lookup(-1)), -1)
