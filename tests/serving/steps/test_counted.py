"""What the steps of a real release count, over real stores: states that stay warm, their age, and unknown ids."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from serving.in_process import Here
from serving.state import url_of
from serving.state.guard import GuardedStore
from serving.state.states import States
from serving.steps.step import Refusal
from serving.steps.user_state import StateStep
from serving.watch.families import Family

STATE, ENCODER = "lrea_state", "lrea_encoder"
ITEMS = np.array([[1, 2, 3]])


class Counting(Here):
    """Keeps states in LMDB, and what was counted."""

    def __init__(self, repository: Path, url: str) -> None:
        super().__init__(repository, "cpu")
        self._url = url
        self.counted: Counter[str] = Counter()

    def counter(self, family: Family, model: str, outcomes: Sequence[str]) -> Callable[[str, int], None]:
        def add(outcome: str, number: int) -> None:
            self.counted[outcome] += number

        return add

    def total(self, family: Family, model: str) -> Callable[[float], None]:
        def add(number: float) -> None:
            self.counted[family.name] += number  # pyright: ignore[reportArgumentType]

        return add

    def states(self, model: str) -> States:
        return GuardedStore(self._url, pytest.fail)


@pytest.fixture
def twice(live: Path) -> Path:
    """The same weights published twice."""
    for model in (STATE, ENCODER):
        shutil.copytree(live / model / "1", live / model / "2")
    return live


@pytest.fixture
def host(twice: Path, tmp_path: Path) -> Iterator[Counting]:
    one = Counting(twice, url_of(tmp_path / "state"))
    yield one
    histories = one.histories()
    if histories is not None:
        histories.close()


def answer(host: Counting, repository: Path, version: int, *users: int, items: np.ndarray = ITEMS) -> list[np.ndarray]:
    step = StateStep(host, repository / STATE / str(version))
    found = step.answer([{"user_id": np.array([[user]]), "candidates": items} for user in users])
    step.close()
    return [next(iter(one.values())) for one in found if not isinstance(one, Refusal)]


def test_a_second_version_of_the_same_weights_finds_its_states_warm(host: Counting, twice: Path) -> None:
    first = answer(host, twice, 1, 1, 2)
    assert (host.counted["miss"], host.counted["written"], host.counted["hit"]) == (2, 2, 0)
    time.sleep(0.05)
    second = answer(host, twice, 2, 1, 2)
    assert host.counted["hit"] == 2
    assert host.counted["miss"] == 2
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert host.counted["recserve_user_state_age_seconds_count"] == 2
    assert 0.1 <= host.counted["recserve_user_state_age_seconds_sum"] < 60


def test_unknown_users_and_items_of_answered_requests_are_counted(host: Counting, twice: Path) -> None:
    answer(host, twice, 1, 1, 2, 10**6, 10**6, items=np.array([[0, 1, 0]]))
    assert host.counted["recserve_unknown_users_total"] == 2
    assert host.counted["recserve_unknown_items_total"] == 8
    answer(host, twice, 1, 10**6, items=np.zeros((1, 0), np.int64))
    assert host.counted["recserve_unknown_users_total"] == 2, "a request that is refused is no row"
