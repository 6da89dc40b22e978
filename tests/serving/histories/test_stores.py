"""One suite for every store of histories: what was acknowledged is there for everybody, once, whoever dies."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from loadtest.live.valkey_server import valkey_server
from serving.histories.histories import Histories
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose, prefix
from serving.histories.opening import open_histories

ANNA, BERTA = Whose("shop", "anna"), Whose("shop", "berta")
PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", params=["lmdb", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Gives URLs of empty stores."""
    folder = tmp_path_factory.mktemp("stores")
    if request.param == "lmdb":
        numbers = iter(range(1000))
        yield lambda: f"lmdb://{folder}/{next(numbers)}"
        return
    with valkey_server(folder) as one:

        def emptied() -> str:
            one.client().flushall()
            return one.url

        yield emptied


@pytest.fixture
def url(server: Callable[[], str]) -> str:
    return server()


@pytest.fixture
def histories(url: str) -> Iterator[Histories]:
    one = Histories(open_histories(url))
    yield one
    one.close()


def event(*numbers: int) -> Events:
    """Events numbered in time, of the item of the same number."""
    made = np.array(numbers, np.int64)
    ids = np.array([id_of(str(number)) for number in numbers], np.uint64)
    return Events(made, np.ones(len(made)), made, np.zeros_like(made), ids)


def items(histories: Histories, whose: Whose) -> list[int]:
    (found,) = histories.of([whose])
    return [] if found is None else found.items.tolist()


def test_an_append_is_read_by_everybody_and_a_repeated_one_changes_nothing(url: str, histories: Histories) -> None:
    assert histories.of([ANNA, BERTA]) == [None, None]
    assert histories.digests([ANNA]) == [b""]
    assert histories.append({ANNA: event(2, 1), BERTA: event(3)}) == {ANNA: ["applied"] * 2, BERTA: ["applied"]}
    before = histories.digests([ANNA, BERTA])
    assert histories.append({ANNA: event(1, 2)}) == {ANNA: ["duplicate"] * 2}
    assert histories.digests([ANNA, BERTA]) == before
    assert items(histories, ANNA) == [1, 2]
    assert items(histories, BERTA) == [3]
    histories.append({ANNA: event(4)})
    assert histories.digests([ANNA])[0] != before[0]


def test_the_newest_are_kept(histories: Histories) -> None:
    histories.append({ANNA: event(*range(1, 41))}, most=50)
    histories.append({ANNA: event(*range(41, 81))}, most=50)
    assert items(histories, ANNA) == [*range(31, 81)]
    assert histories.append({ANNA: event(5)}, most=50) == {ANNA: ["dropped"]}


def test_a_process_opens_a_store_as_often_as_it_likes(url: str, histories: Histories) -> None:
    other, third = Histories(open_histories(url)), Histories(open_histories(url))
    other.append({ANNA: event(1)})
    other.close()
    other.close()
    assert items(third, ANNA) == items(histories, ANNA) == [1]
    third.close()
    histories.append({ANNA: event(2)})
    assert items(histories, ANNA) == [1, 2]


def test_an_empty_append_changes_nothing(histories: Histories) -> None:
    assert histories.append({}) == {}
    assert histories.append({ANNA: Events.none("int64")}) == {ANNA: []}
    assert histories.of([ANNA]) == [None]


def test_other_kinds_of_items_under_one_user_are_not_taken(histories: Histories) -> None:
    histories.append({ANNA: event(1)})
    text = event(2)._replace(items=np.array(["two"], object))
    found = histories.append({ANNA: text, BERTA: text})
    assert found == {ANNA: ["unreadable"], BERTA: ["applied"]}
    assert items(histories, ANNA) == [1]


def test_keys_are_listed_by_data_set_and_dropped(histories: Histories) -> None:
    other = Whose("sh*p[1]", 5)
    histories.append({ANNA: event(1), BERTA: event(2), other: event(3)})
    assert sorted(histories.store.keys(prefix("shop"))) == sorted([ANNA.key, BERTA.key])
    assert [*histories.store.keys(prefix("sh*p[1]"))] == [other.key]
    assert histories.store.stat().histories == 3
    histories.store.drop([ANNA.key, BERTA.key])
    assert histories.of([ANNA]) == [None]
    assert items(histories, other) == [3]


def test_writers_in_threads_lose_nothing(url: str, histories: Histories) -> None:
    users = [Whose("shop", number) for number in range(3)]
    numbers = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 2)).reshape(16, 5)

    def push(row: np.ndarray) -> None:
        histories.append({whose: event(*row.tolist()) for whose in users})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, numbers))
    assert [items(histories, whose) for whose in users] == [[*range(40)]] * 3


def keep_pushing(url: str, seen: Path, start: int) -> None:
    """Appends one event after the other, and notes each that was acknowledged."""
    histories = Histories(open_histories(url))
    with seen.open("ab", buffering=0) as file:
        for number in range(start, start + 100_000):
            histories.append({ANNA: event(number), BERTA: event(number)}, most=100_000)
            file.write(b"%d\n" % number)


def test_a_killed_writer_loses_nothing_that_was_acknowledged_and_blocks_nobody(url: str, tmp_path: Path) -> None:
    starts = (0, 1_000_000)
    writers = [PROCESSES.Process(target=keep_pushing, args=(url, tmp_path / str(start), start)) for start in starts]
    for writer in writers:
        writer.start()
    end = time.monotonic() + 60
    while not all((tmp_path / str(start)).exists() for start in starts):
        assert time.monotonic() < end
    time.sleep(0.3)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    histories = Histories(open_histories(url))
    acknowledged = {int(line) for start in starts for line in (tmp_path / str(start)).read_text().split()}
    for whose in (ANNA, BERTA):
        found = items(histories, whose)
        assert len({*found}) == len(found)
        assert acknowledged <= {*found}
        assert len({*found} - acknowledged) <= 2, "at most the one that each was about to note"
    again = event(*sorted(acknowledged))
    assert {*histories.append({ANNA: again}, most=100_000)[ANNA]} == {"duplicate"}
    histories.close()


@pytest.mark.parametrize(
    "url", ["", "lmdb:relative", "lmdb://host/dir", "redis://x", "valkey:///0", "/some/dir", "lmdb:///dir?x=1"]
)
def test_a_url_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no store of histories; write lmdb:///absolute/directory or valkey:"):
        open_histories(url)
