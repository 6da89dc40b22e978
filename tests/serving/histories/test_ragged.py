"""Histories in a release's files take what they hold, and are read as if they were padded."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from serving.histories.ragged import LONGEST, STARTS, Ragged, packed, unpacked
from serving.histories.reading import AGES, ITEMS, LENGTH, VALUES
from serving.mapped import mapped

LENGTHS = np.array([[3], [0], [5], [1]])
LONGEST_READ = 5


def histories(largest: int = 900) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    inside = np.arange(LONGEST_READ) < LENGTHS
    items, values, ages = (np.where(inside, random.integers(1, top, inside.shape), 0) for top in (largest, 6, 1 << 50))
    beside = np.arange(4, dtype=np.float32)[:, None]
    return {ITEMS: items, VALUES: values, AGES: ages, LENGTH: LENGTHS, "beside": beside}


@pytest.mark.parametrize("largest", [900, 1 << 40])
def test_what_is_read_is_what_was_written(tmp_path: Path, largest: int) -> None:
    whole = histories(largest)
    save_file(packed(whole), tmp_path / "file")
    read = unpacked(mapped(tmp_path / "file", "histories"))
    assert read.keys() == whole.keys()
    for name, array in whole.items():
        assert (read[name].dtype, read[name].shape, len(read[name])) == (array.dtype, array.shape, len(array))
        for rows in (slice(2, 3), slice(0, 0), slice(None), np.array([3, 1, 1, 2]), np.array([], np.int64)):
            np.testing.assert_array_equal(read[name][rows], array[rows])


def test_an_event_takes_eight_bytes_however_long_others_are() -> None:
    held = packed(histories())
    events = int(LENGTHS.sum())
    assert held[ITEMS].nbytes + held[VALUES].nbytes == 8 * events
    assert held[STARTS].tolist() == [0, 3, 3, 8, 9]


def test_what_is_no_history_stays_as_it_is() -> None:
    rows = {"user": np.ones((4, 2))}
    assert packed(rows) == rows
    assert unpacked(rows) == rows


@pytest.mark.parametrize(
    "change",
    [
        {ITEMS: np.ones((4, 5), np.int64)},
        {VALUES: np.ones((4, 5), np.int64)},
        {AGES: np.ones((4, 5), np.int64)},
        {LENGTH: np.array([[3], [0], [6], [1]])},
    ],
)
def test_events_behind_the_end_of_a_history_are_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="must be 0 behind the history_length"):
        packed({**histories(), **change})


@pytest.mark.parametrize(
    ("starts", "longest"), [([0, 3, 3, 8], 5), ([1, 3, 3, 9], 9), ([0, 4, 3, 9], 9), ([0, 3, 9], 5), ([], 5)]
)
def test_borders_that_cannot_be_are_refused(starts: list[int], longest: int) -> None:
    with pytest.raises(ValueError, match="histor"):
        Ragged(np.zeros(9, np.int32), np.array(starts, np.int64), longest)
    damaged = {ITEMS: np.zeros(9), VALUES: np.zeros(9), STARTS: np.array(starts), LONGEST: np.array([longest])}
    with pytest.raises(ValueError, match="histor"):
        unpacked(damaged)
