"""States that take one event: brought up to date by what came since, or computed anew where that cannot be."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from serving.histories.histories import Histories
from serving.histories.history import Events, id_of
from serving.histories.keys import Whose
from serving.histories.live import LiveHistories
from serving.histories.opening import open_histories
from serving.histories.reading import AGES, ITEMS, LENGTH, NAMES, Reading
from serving.state import url_of
from serving.state.guard import GuardedStore
from serving.state.observing import BEFORE, MOST
from serving.state.source import EncoderError, StateSource
from serving.steps.state_counters import Ages, Counters
from serving.steps.user_state import Bounds, Request, UserState

Arrays = dict[str, np.ndarray]
LONGEST, TAIL, STAMP, USER = 12, 2, 5, 7


def encode(inputs: Arrays) -> Arrays:
    """Of each history: the sum of its items, their number, and the sum of the times between neighbours."""
    length = inputs[LENGTH]
    there = np.arange(inputs[ITEMS].shape[1]) < length
    span = np.where(there, inputs[AGES], 0).max(1, keepdims=True)
    known = np.concatenate([(inputs[ITEMS] * there).sum(1, keepdims=True), length, span], 1)
    return {"known": known.astype(np.int32), "stamp": np.full_like(length, STAMP)}


def observe(inputs: Arrays) -> Arrays:
    """The same from the state before the newest event, and that event and the one before it."""
    assert inputs[ITEMS].shape == (1, TAIL)
    added = np.array([[inputs[ITEMS][0, 0], 1, inputs[AGES][0, 1]]])
    return {"known": (inputs[f"{BEFORE}known"] + added).astype(np.int32), "stamp": inputs[f"{BEFORE}stamp"]}


def _nothing(what: str, number: int) -> None:
    """Nobody counts."""


class Bench:
    """A state step over real stores, and what it asked."""

    def __init__(self, folder: Path, observer: str | None = "observer") -> None:
        made = folder / "model" / "1"
        made.mkdir(parents=True)
        nobody = {name: np.zeros((1, 1 if name == LENGTH else LONGEST), np.int64) for name in (*NAMES, AGES)}
        save_file({"user_ids": np.array([99]), **nobody}, made / "histories.safetensors")
        outputs = [("known", "int32", [3]), ("stamp", "int64", [1])]
        said = {"encoder": "encoder", "stamp": STAMP, "inputs": [*nobody], "observer": observer, "tail": TAIL}
        said["outputs"] = [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in outputs]
        (made / "state.json").write_text(json.dumps(said))
        self.source = StateSource(made, "model", 1)
        self.store = GuardedStore(url_of(folder / "state"), lambda text: None)
        self.histories = Histories(open_histories(f"lmdb://{folder / 'histories'}"))
        self.live = LiveHistories(self.histories, Reading("shop", 50, None, None, 0), lambda what, number: None)
        self.encoded = self.observed = 0
        self.events, self.broken = list[float](), False
        ages = Ages(_nothing, [].append, [].append)
        counters = Counters(_nothing, _nothing, [].append, ages, self.events.append)
        bounds, by = Bounds(), self._observe if observer else None
        self.step = UserState(self.source, self.store, bounds, self._encode, counters, by)

    def push(self, *events: tuple[int, int], most: int = 100) -> None:
        """Items and times of user 7; an event's name is the two."""
        items, times = np.array(events, np.int64).T
        ids = np.array([id_of(f"{item} at {time}") for item, time in events], np.uint64)
        arrived = Events(items, np.ones(len(items)), times, np.zeros_like(times), ids)
        self.histories.append({Whose("shop", USER): arrived}, most)

    def ask(self) -> list[int]:
        """The state of user 7 as it is answered; it must be that of the whole history."""
        (live,) = self.live.of([USER]).values()
        question = self.source.live(USER, USER, live)
        (answer,) = self.step.resolve([Request(np.array([[USER]]), np.array([[1]]), question)])
        assert isinstance(answer, dict), answer
        expected = encode(live.arrays(LONGEST))["known"][0]
        np.testing.assert_array_equal(answer["known"], expected)
        return answer["known"].tolist()

    def _encode(self, inputs: Arrays) -> Arrays:
        self.encoded += 1
        return encode(inputs)

    def _observe(self, inputs: Arrays) -> Arrays:
        if self.broken:
            raise EncoderError("busy", is_busy=True)
        self.observed += 1
        return observe(inputs)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.push((3, 100), (4, 110))
    assert made.ask() == [7, 2, 10]
    assert (made.encoded, made.observed) == (1, 0)
    yield made
    made.store.close()
    made.histories.close()


def test_an_event_is_added_to_the_state(bench: Bench) -> None:
    bench.push((5, 130))
    assert bench.ask() == [12, 3, 30]
    assert (bench.encoded, bench.observed, sum(bench.events)) == (1, 1, 1)
    bench.ask()
    assert (bench.encoded, bench.observed) == (1, 1), "what was added is stored"


def test_an_event_that_arrives_twice_is_added_once(bench: Bench) -> None:
    for _ in range(2):
        bench.push((5, 130))
        assert bench.ask() == [12, 3, 30]
    bench.push((4, 110))
    assert bench.ask() == [12, 3, 30]
    assert (bench.encoded, bench.observed) == (1, 1)


def test_several_events_are_added_in_order(bench: Bench) -> None:
    bench.push((5, 130), (6, 131), (7, 140))
    assert bench.ask() == [25, 5, 40]
    assert (bench.encoded, bench.observed) == (1, 3)


def test_a_late_event_needs_the_whole_history(bench: Bench) -> None:
    bench.push((5, 105))
    assert bench.ask() == [12, 3, 10]
    assert (bench.encoded, bench.observed) == (2, 0)


def test_so_do_more_events_than_are_worth_it(bench: Bench) -> None:
    bench.push(*((1, 120 + place) for place in range(MOST + 1)))
    bench.ask()
    assert (bench.encoded, bench.observed) == (2, 0)


def test_and_a_history_that_is_cut(bench: Bench) -> None:
    bench.push(*((1, 120 + place) for place in range(LONGEST - 2)))
    bench.ask()
    before = bench.encoded
    bench.push((9, 200))
    bench.ask()
    assert (bench.encoded, bench.observed) == (before + 1, 0), "the model reads the newest twelve alone"


def test_and_a_store_that_keeps_no_more(bench: Bench) -> None:
    bench.push((5, 130), most=2)
    assert bench.ask() == [9, 2, 20]
    assert (bench.encoded, bench.observed) == (2, 0)


def test_where_the_observer_fails_the_encoder_answers(bench: Bench) -> None:
    bench.push((5, 130))
    bench.broken = True
    assert bench.ask() == [12, 3, 30]
    assert bench.encoded == 2


def test_without_an_observer_states_are_computed_anew(tmp_path: Path) -> None:
    made = Bench(tmp_path, observer=None)
    made.push((3, 100))
    made.ask()
    made.push((4, 110))
    assert made.ask() == [7, 2, 10]
    assert (made.encoded, made.observed) == (2, 0)
    made.store.close()
    made.histories.close()
