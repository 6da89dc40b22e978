from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.state import url_of
from serving.state.guard import GuardedStore
from serving.state.source import EncoderError
from serving.state.states import Entry
from serving.state.store import StateStore
from serving.steps.state_counters import Ages, Counters
from serving.steps.step import Refusal
from serving.steps.user_state import Bounds, Request, UserState
from tests.serving import state_models as tiny
from tests.serving.state.test_store import flip_stored_byte

Inputs = dict[str, np.ndarray]


class Bench:
    """A user state over a real store, which counts, and remembers the batches that the encoder was asked for."""

    def __init__(self, folder: Path, encode: Callable[[Inputs], Inputs] = tiny.encode) -> None:
        self.source = tiny.source(folder / "model")
        self.store = GuardedStore(url_of(folder / "state"), lambda text: None)
        self.counted: Counter[str] = Counter()
        self.evicted, self.ages_s, self.aged = list[float](), list[float](), list[float]()
        self.older: Counter[str] = Counter()
        self.batches: list[int] = []
        self._encode = encode
        self.observed = list[float]()
        ages = Ages(lambda le, number: self.older.update({le: number}), self.ages_s.append, self.aged.append)
        counters = Counters(self._count, self._count, self.evicted.append, ages, self.observed.append)
        bounds = Bounds(max_elements=tiny.MAX_CANDIDATES)
        self.user_state = UserState(self.source, self.store, bounds, self._recorded, counters)

    def resolve(self, *users: int) -> list[np.ndarray | Refusal]:
        """The keys of each user."""
        answers = self.user_state.resolve([request(user) for user in users])
        return [answer if isinstance(answer, Refusal) else answer["keys"] for answer in answers]

    @property
    def opened(self) -> StateStore:
        breaker = self.store._breaker
        assert breaker is not None
        assert isinstance(breaker._store, StateStore)
        return breaker._store

    def _count(self, outcome: str, number: int) -> None:
        self.counted[outcome] += number

    def _recorded(self, inputs: Inputs) -> Inputs:
        self.batches.append(len(inputs["history"]))
        return self._encode(inputs)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def request(user: int, candidates: tuple[int, ...] = (1, 2)) -> Request:
    return Request(np.array([[user]]), np.array([candidates], np.int64))


def reason(answer: object) -> str:
    assert isinstance(answer, Refusal)
    assert answer.status == "INVALID_ARG"
    return answer.reason


def assert_are_keys_of(answers: list[np.ndarray | Refusal], *users: int) -> None:
    assert len(answers) == len(users)
    for answer, user in zip(answers, users, strict=True):
        assert isinstance(answer, np.ndarray)
        np.testing.assert_array_equal(answer, tiny.keys_of(user))


def test_the_first_request_asks_the_encoder_and_the_second_the_store(bench: Bench):
    assert_are_keys_of(bench.resolve(8), 8)
    assert_are_keys_of(bench.resolve(8), 8)
    assert bench.batches == [1]
    assert bench.counted == {"miss": 1, "written": 1, "hit": 1}


def test_the_misses_of_a_batch_go_to_the_encoder_together_and_each_user_once(bench: Bench):
    bench.resolve(5)
    bench.batches.clear()
    bench.counted.clear()
    assert_are_keys_of(bench.resolve(8, 5, 3, 8, 13), 8, 5, 3, 8, 13)
    assert bench.batches == [3]
    assert bench.counted == {"miss": 3, "written": 3, "hit": 1}


def test_more_misses_than_the_encoder_takes_are_asked_for_in_parts(bench: Bench):
    users = tiny.USERS[:7].tolist()
    assert_are_keys_of(bench.resolve(*users), *users)
    assert bench.batches == [4, 3]


def test_a_corrupt_state_is_counted_and_computed_again(bench: Bench):
    bench.resolve(8, 3)
    flip_stored_byte(bench.opened, 8)
    bench.counted.clear()
    assert_are_keys_of(bench.resolve(8, 3), 8, 3)
    assert bench.counted == {"corrupt": 1, "hit": 1, "written": 1}
    assert_are_keys_of(bench.resolve(8), 8)
    assert bench.counted["hit"] == 2


def test_a_state_of_another_history_is_counted_and_computed_again(bench: Bench):
    lookup = bench.source.question(8).lookup._replace(digest=b"another ")
    wrong = {"keys": np.zeros((2, 2), np.float32), "stamp": np.array([tiny.STAMP])}
    bench.store.put_many([Entry(lookup, wrong)])
    assert_are_keys_of(bench.resolve(8), 8)
    assert bench.counted == {"stale": 1, "written": 1}


def test_a_store_that_fails_is_counted_and_the_answers_are_right(tmp_path: Path):
    (tmp_path / "state").write_text("a file, not a directory")
    bench = Bench(tmp_path)
    for _ in range(2):
        assert_are_keys_of(bench.resolve(8, 3), 8, 3)
    assert bench.counted == {"store_error": 4, "failed": 4}


def test_an_encoder_that_fails_fails_only_those_who_need_it(tmp_path: Path):
    def encode(inputs: Inputs) -> Inputs:
        if len(inputs["history"]) < 4:
            raise EncoderError("encoder has no room", is_busy=True)
        return tiny.encode(inputs)

    bench = Bench(tmp_path, encode)
    *good, refused = bench.resolve(3, 5, 8, 13, 21)
    assert_are_keys_of(good, 3, 5, 8, 13)
    assert refused == Refusal("encoder has no room", "UNAVAILABLE")
    assert bench.counted == {"miss": 5, "written": 4}
    bench.store.close()


def test_an_encoder_of_another_version_is_an_error_and_nothing_is_written(tmp_path: Path):
    bench = Bench(tmp_path, lambda inputs: tiny.encode(inputs, stamp=78))
    (answer,) = bench.resolve(8)
    assert isinstance(answer, Refusal)
    assert answer.status == "INTERNAL"
    assert "encoder has stamp 78, user_state version 1 needs 77" in answer.reason
    assert bench.counted == {"miss": 1}
    bench.store.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (request(8, ()), "candidates is empty: send at least one item id"),
        (request(8, (4, 0, -5, -6)), "candidates[2] is -5: an item id must be at least 0"),
        (request(8, (1,) * 51), "candidates has 51 elements, at most 50 are allowed: split the request"),
        (Request(np.array([[8], [3]]), np.array([[1]])), "user_id has shape [2, 1]: send one user per request"),
    ],
)
def test_a_wrong_request_is_refused_alone_and_names_what_is_wrong(bench: Bench, wrong: Request, message: str):
    first, refused, last = bench.user_state.resolve([request(8), wrong, request(3)])
    assert message in reason(refused)
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    np.testing.assert_array_equal(first["keys"], tiny.keys_of(8))
    np.testing.assert_array_equal(last["keys"], tiny.keys_of(3))


def test_a_batch_of_wrong_requests_touches_neither_store_nor_encoder(bench: Bench):
    (answer,) = bench.user_state.resolve([request(8, ())])
    assert reason(answer)
    assert bench.counted == {}
    assert bench.batches == []


def test_users_without_a_history_share_the_empty_one_which_is_computed_once_and_never_stored(bench: Bench):
    empty = tiny.encode({"history": np.zeros((1, 4), np.int64), "length": np.zeros((1, 1), np.int64)})["keys"][0]
    strangers = (4, -1, 99999, -(2**63), 2**63 - 1)
    for _ in range(2):
        first, *others, last = bench.resolve(8, *strangers, 3)
        assert_are_keys_of([first, last], 8, 3)
        for answer in others:
            np.testing.assert_array_equal(answer, empty)
    assert bench.batches == [2, 1], "the users with a history, then the empty one"
    assert bench.counted == {"miss": 2, "written": 2, "hit": 2, "no_history": 2 * len(strangers)}
    assert bench.opened.users("user_state", tiny.STAMP) == [3, 8]
    assert set(bench.source._lookups) == {3, 8}, "nothing is remembered of invented ids"


def test_an_encoder_that_fails_on_the_empty_history_is_asked_again(tmp_path: Path):
    fails = [True]

    def encode(inputs: Inputs) -> Inputs:
        if fails.pop():
            fails.append(False)
            raise EncoderError("encoder has no room", is_busy=True)
        fails.append(False)
        return tiny.encode(inputs)

    bench = Bench(tmp_path, encode)
    assert bench.resolve(4, 5000) == [Refusal("encoder has no room", "UNAVAILABLE")] * 2
    assert all(isinstance(answer, np.ndarray) for answer in bench.resolve(4, 5000))
    bench.store.close()


def test_bounds_come_from_the_models_parameters():
    bounds = Bounds.of({"minimum.candidates": "1", "maximum.candidates": "9", "max_elements.candidates": "2"})
    assert bounds.user_of(request(8, (1, 9))) == 8
    for candidates, message in [
        ((0,), "at least 1 and at most 9"),
        ((10,), r"candidates\[0\] is 10"),
        ((1, 1, 1), "3"),
    ]:
        with pytest.raises(ValueError, match=message):
            bounds.user_of(request(8, candidates))
    assert Bounds.of({"intra_op_thread_count": "1"}) == Bounds()
    declared = Bounds.of({"minimum.user_id": "0", "maximum.user_id": "8"})
    assert declared.user_of(request(8)) == 8
    for user in (-1, 9):
        with pytest.raises(ValueError, match=f"user_id is {user}: it must be 0 to 8"):
            declared.user_of(request(user))
