"""How a version reads events: newest first, by its own ids and codes, with ages that no time makes wrong."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.histories.history import Events
from serving.histories.reading import Reading, older

READING = Reading("made", 3, None, None, 6)
INT64 = st.integers(-(2**63), 2**63 - 1)


def events_at(times: list[int]) -> Events:
    number = len(times)
    zeros = np.zeros(number, np.int64)
    items = np.arange(1, number + 1)
    return Events(items, np.full(number, 4.0), np.array(times, np.int64), zeros, zeros.astype(np.uint64))


def test_ages_count_from_the_newest_event() -> None:
    found = READING.arrays(events_at([100, 130, 137]), 4)
    assert found["history_items"].tolist() == [[3, 2, 1, 0]]
    assert found["history_ages"].tolist() == [[0, 7, 37, 0]]
    assert found["history_length"].tolist() == [[3]]
    assert READING.arrays(events_at([100, 130, 137]), 2)["history_ages"].tolist() == [[0, 7]]
    assert READING.arrays(events_at([]), 2)["history_ages"].tolist() == [[0, 0]]


@given(st.lists(INT64, min_size=1, max_size=6))
def test_ages_of_any_times_are_exact_up_to_their_bound(times: list[int]) -> None:
    newest = max(times)
    found = older(np.array([newest]), np.array(times, np.int64))
    assert found.tolist() == [min(newest - one, 2**62) for one in times]
