import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from serving.state.damage import StateStoreCorrupt, set_aside
from serving.state.record import Key
from serving.state.states import Entry, Lookup, Read, StateStoreError, StateStoreFull
from serving.state.store import StateStore

STAMP, DIGEST = 7, b"digest00"


def lookup(user: int, *, model: str = "user_state", stamp: int = STAMP) -> Lookup:
    return Lookup(Key(model, stamp, user), DIGEST)


def state_of(user: int, size: int = 64) -> dict[str, np.ndarray]:
    """A state of which each element tells the user."""
    return {"keys": np.full((2, size), user, np.float32), "stamp": np.array([STAMP])}


def entry(user: int, *, model: str = "user_state", stamp: int = STAMP) -> Entry:
    return Entry(lookup(user, model=model, stamp=stamp), state_of(user))


def assert_is_state_of(read: Read, user: int) -> None:
    assert read.outcome == "hit"
    assert read.arrays is not None
    assert read.arrays.keys() == {"keys", "stamp"}
    np.testing.assert_array_equal(read.arrays["keys"], state_of(user)["keys"])


def flip_stored_byte(store: StateStore, user: int, position: int = 60) -> None:
    """Damages one stored value through the store's own environment."""
    with store._env.begin(write=True) as transaction:
        key = next(key for key, _ in transaction.cursor() if key.endswith((user + (1 << 63)).to_bytes(8, "big")))
        value = bytearray(transaction.get(key) or b"")
        value[position] ^= 0x40
        transaction.put(key, bytes(value))


def test_a_written_state_is_read_back_and_may_be_kept_after_the_store_is_closed(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put(entry(5))
        read = store.get(*lookup(5))
    assert_is_state_of(read, 5)
    assert read.time_ms is not None
    assert read.arrays is not None
    read.arrays["keys"][0, 0] = 1


def test_an_unknown_user_another_model_and_other_weights_are_misses(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put(entry(5))
        asked = [lookup(6), lookup(5, stamp=STAMP + 1), lookup(5, model="user_state_2")]
        assert [read.outcome for read in store.get_many(asked)] == ["miss", "miss", "miss"]


def test_a_state_of_another_history_is_stale_and_not_returned(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put(entry(5))
        read = store.get(lookup(5).key, b"digest01")
    assert read.outcome == "stale"
    assert read.arrays is None


def test_a_damaged_value_is_corrupt_and_its_neighbours_are_not(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put_many([entry(user) for user in range(3)])
        flip_stored_byte(store, 1)
        reads = store.get_many([lookup(user) for user in range(3)])
        assert [read.outcome for read in reads] == ["hit", "corrupt", "hit"]
        assert reads[1].arrays is None
        store.put(entry(1))
        assert_is_state_of(store.get(*lookup(1)), 1)


def test_a_transaction_with_an_unstorable_state_writes_nothing(tmp_path: Path):
    with StateStore(tmp_path) as store:
        with pytest.raises(ValueError, match="float64"):
            store.put_many([entry(1), Entry(lookup(2), {"keys": np.zeros(3)})])
        assert store.users("user_state", STAMP) == []


def test_a_float16_state_is_read_as_float32(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put(entry(5), precision="float16")
        assert_is_state_of(store.get(*lookup(5)), 5)


def test_states_are_counted_listed_and_dropped_by_model_and_stamp(tmp_path: Path):
    with StateStore(tmp_path) as store:
        for model, stamp in [("a", 1), ("a", 2), ("ab", 1)]:
            store.put_many([entry(user, model=model, stamp=stamp) for user in (3, -1, 2)])
        assert store.stat().entries == {("a", 1): 3, ("a", 2): 3, ("ab", 1): 3}
        assert store.users("a", 1) == [-1, 2, 3]
        assert store.drop("a", 1) == 3
        assert store.stat().entries == {("a", 2): 3, ("ab", 1): 3}
        assert store.drop("a") == 3
        assert store.stat().entries == {("ab", 1): 3}
        assert store.drop() == 3
        assert store.stat().entries == {}
        with pytest.raises(ValueError, match="stamp 1 of which model"):
            store.drop(stamp=1)


def test_what_never_fits_is_refused_and_nothing_is_evicted_for_it(tmp_path: Path):
    with StateStore(tmp_path, max_bytes=4 << 20) as store:
        store.put(entry(0))
        with pytest.raises(StateStoreFull, match=r"4,194,304 bytes.*recserve state drop"):
            store.put_many([entry(user) for user in range(1000)])
        assert store.users("user_state", STAMP) == [0]
        assert_is_state_of(store.get(*lookup(0)), 0)


def test_a_bound_that_holds_nothing_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="max_bytes is 4096; a state store takes at least 4194304"):
        StateStore(tmp_path, max_bytes=4096)


def test_a_store_is_private_to_its_owner(tmp_path: Path):
    with StateStore(tmp_path / "new" / "state") as store:
        store.put(entry(1))
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "state" / "data.mdb").stat().st_mode & 0o777 == 0o600


def test_opening_a_store_twice_in_one_process_says_what_to_do(tmp_path: Path):
    with StateStore(tmp_path), pytest.raises(StateStoreError, match="already open in this process: share"):
        StateStore(tmp_path)
    StateStore(tmp_path).close()


def test_reading_where_there_is_no_store_says_what_to_do(tmp_path: Path):
    with pytest.raises(StateStoreError, match=r"there is no state store at .*recserve state build"):
        StateStore(tmp_path / "absent", readonly=True)


def test_a_read_only_store_reads_and_refuses_to_write(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put(entry(1))
    with StateStore(tmp_path, readonly=True) as store:
        assert_is_state_of(store.get(*lookup(1)), 1)
        with pytest.raises(StateStoreError):
            store.put(entry(2))


@pytest.mark.parametrize("content", [b"abc", bytes(20_000), bytes(range(256)) * 100], ids=["short", "zeros", "garbage"])
def test_a_file_that_is_no_store_is_refused_and_can_be_set_aside(tmp_path: Path, content: bytes):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StateStoreCorrupt, match="is damaged") as caught:
        StateStore(tmp_path)
    moved = set_aside(caught.value)
    assert moved is not None
    assert moved.read_bytes() == content
    with StateStore(tmp_path) as store:
        store.put(entry(1))
        assert set_aside(caught.value) is None, "the new store is not the damaged one"
        assert_is_state_of(store.get(*lookup(1)), 1)


def test_a_file_cut_short_is_refused_when_opened(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put_many([entry(user) for user in range(200)])
    os.truncate(tmp_path / "data.mdb", 16 << 10)
    with pytest.raises(StateStoreCorrupt, match="16384 bytes of at least"):
        StateStore(tmp_path)


@pytest.mark.parametrize("content", [b"", b"abc", bytes(200_000), b"\x55" * 200_000], ids=["0", "3", "zeros", "fives"])
def test_a_file_overwritten_while_open_is_found_before_the_map_is_read(tmp_path: Path, content: bytes):
    with StateStore(tmp_path) as store:
        store.put_many([entry(user) for user in range(200)])
        (tmp_path / "data.mdb").write_bytes(content)
        with pytest.raises(StateStoreCorrupt):
            store.get(*lookup(1))
        with pytest.raises(StateStoreCorrupt):
            store.put(entry(1))


def test_damaged_pages_are_an_error_and_not_an_answer(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put_many([entry(user) for user in range(200)])
    data = tmp_path / "data.mdb"
    damaged = data.read_bytes()[:8192] + bytes(data.stat().st_size - 8192)
    data.write_bytes(damaged)
    with StateStore(tmp_path) as store, pytest.raises(StateStoreCorrupt):
        store.get(*lookup(1))


def test_a_store_that_is_removed_or_replaced_while_open_is_noticed(tmp_path: Path):
    with StateStore(tmp_path) as store:
        store.put(entry(1))
        (tmp_path / "data.mdb").rename(tmp_path / "elsewhere")
        with pytest.raises(StateStoreError, match="is gone"):
            store.get(*lookup(1))
        (tmp_path / "data.mdb").write_bytes(bytes(100_000))
        with pytest.raises(StateStoreError, match="was replaced"):
            store.put(entry(2))


WRITER = """
import sys
from pathlib import Path
from tests.serving.state.test_store import entry
from serving.state.store import StateStore

with StateStore(Path(sys.argv[1])) as store:
    start, rounds = int(sys.argv[2]), int(sys.argv[3])
    print("open", flush=True)
    for round in range(rounds):
        store.put_many([entry((start + round * 7 + k) % 500) for k in range(7)])
"""

READER = """
import sys
from pathlib import Path
from tests.serving.state.test_store import assert_is_state_of, lookup
from serving.state.store import StateStore

with StateStore(Path(sys.argv[1]), readonly=True) as store:
    hits = 0
    for _ in range(int(sys.argv[2])):
        for user, read in enumerate(store.get_many([lookup(user) for user in range(50)])):
            if read.outcome != "miss":
                assert_is_state_of(read, user)
                hits += 1
print(hits)
"""


def spawn(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)


def users_that_hit(store: StateStore, users: Sequence[int]) -> set[int]:
    reads = store.get_many([lookup(user) for user in users])
    assert {read.outcome for read in reads} <= {"hit", "miss"}
    for user, read in zip(users, reads, strict=True):
        if read.outcome == "hit":
            assert_is_state_of(read, user)
    return {user for user, read in zip(users, reads, strict=True) if read.outcome == "hit"}


def test_a_writer_that_is_killed_leaves_whole_states_or_none(tmp_path: Path):
    with StateStore(tmp_path) as store:
        before: set[int] = set()
        for trial in range(5):
            writer = spawn(WRITER, tmp_path, trial * 90, 10_000_000)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            hits = before
            while hits == before:
                hits = users_that_hit(store, range(500))
                if len(before) == 500:
                    break
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            before = users_that_hit(store, range(500))
            assert hits <= before
            store.put(entry(1000 + trial))
            assert_is_state_of(store.get(*lookup(1000 + trial)), 1000 + trial)


def test_processes_that_read_and_write_at_once_see_whole_states_only(tmp_path: Path):
    StateStore(tmp_path).close()
    writers = [spawn(WRITER, tmp_path, start, 150) for start in (0, 250)]
    with StateStore(tmp_path) as store:
        store.put(entry(0))
    readers = [spawn(READER, tmp_path, 100) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in [*writers, *readers]]
    assert [process.returncode for process in [*writers, *readers]] == [0, 0, 0, 0]
    assert all(int(output) >= 100 for output in outputs[2:])
    with StateStore(tmp_path) as store:
        assert users_that_hit(store, range(500)) == set(range(500))
