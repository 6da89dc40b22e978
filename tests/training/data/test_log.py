"""The log: order, pasts and windows, for ids and times of any int64."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.data.made_clicks import events_of, rows_strategy, splittable
from training.data.log import Log, parts_by_time

LEAST, MOST = -(2**63), 2**63 - 1
EXTREMES = (LEAST, LEAST + 1, -(2**62), -(2**32), -1, 0, 1, 2**31, 2**32 + 1, 2**53, 2**53 + 1, 2**62, MOST - 1, MOST)
any_int = st.one_of(st.sampled_from(EXTREMES), st.integers(LEAST, MOST), st.integers(2**61, 2**62), st.integers(-3, 3))


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """Few users, items and moments, so that they meet; each of them any int64."""
    users, items, times = (draw(st.lists(any_int, min_size=1, max_size=5, unique=True)) for _ in range(3))
    row = st.tuples(st.sampled_from(users), st.sampled_from(items), st.integers(1, 5), st.sampled_from(times))
    return draw(st.lists(row, min_size=1, max_size=40))


@settings(deadline=None, max_examples=300)
@given(rows=logs(), values=st.booleans(), width=st.integers(1, 5))
def test_windows_hold_the_newest_of_an_events_past_and_of_nobody_else(rows: list, width: int, *, values: bool) -> None:
    log = Log(events_of(rows, values=values))
    ordered = sorted(enumerate(rows), key=lambda entry: (entry[1][0], entry[1][3], entry[0]))
    assert log.row.tolist() == [number for number, _ in ordered]
    starts, ends = log.past(np.arange(len(log)))
    lengths = np.minimum(ends - starts, width)
    items, found = log.windows(ends, lengths, width)
    ages = log.ages(ends, lengths, width)
    assert log.ages(ends, lengths, 0).shape == (len(log), 0)
    for place, (_, (user, item, rating, time)) in enumerate(ordered):
        assert (log.user[place], log.item[place], log.time[place]) == (user, item, time)
        assert log.label[place] == (rating >= 4)
        before = [row for _, row in ordered if row[0] == user and row[3] < time]
        newest = [(row[1], row[2]) for row in before if values or row[2] >= 4][::-1][:width]
        times = [row[3] for row in before if values or row[2] >= 4][::-1][:width]
        since = [min(times[0] - one, 2**62) for one in times]
        assert ages[place].tolist() == since + [0] * (width - len(since))
        newest = newest if values else [(item, 1) for item, _ in newest]
        padded = newest + [(0, 0)] * (width - len(newest))
        assert list(zip(items[place].tolist(), found[place].tolist(), strict=True)) == padded
    for user in {row[0] for row in rows}:
        own = [row for _, row in ordered if row[0] == user]
        assert log.item[log.of(user)].tolist() == [row[1] for row in own]
        start, end = log.all_of(np.array([user]))
        assert (end - start).tolist() == [sum(values or row[2] >= 4 for row in own)]


@settings(deadline=None, max_examples=50)
@given(rows=logs(), stranger=any_int)
def test_a_stranger_has_no_events(rows: list, stranger: int) -> None:
    log = Log(events_of(rows))
    if stranger not in log.user:
        assert len(log.item[log.of(stranger)]) == 0
        start, end = log.all_of(np.array([stranger]))
        assert start.tolist() == end.tolist()


@settings(deadline=None, max_examples=50)
@given(rows=rows_strategy)
def test_parts_are_in_the_order_of_time_and_published_row(rows: list) -> None:
    rows = splittable(rows)
    log = Log(events_of(rows))
    parts = parts_by_time("made", log)
    assert log.row[np.concatenate(parts)].tolist() == sorted(
        range(len(rows)), key=lambda number: (rows[number][3], number)
    )


def test_no_part_may_be_empty() -> None:
    with pytest.raises(ValueError, match="made: too few distinct times among 3 events to split by time"):
        parts_by_time("made", Log(events_of([(1, 1, 1, 5)] * 3)))


def test_smaller_integers_and_unsigned_ones_are_read_as_they_are() -> None:
    events = events_of([(1, 2, 5, 3), (1, 3, 4, 2)])
    small = events.with_columns(pl.col("user", "item", "time", "value").cast(pl.UInt8))
    one, other = Log(events), Log(small)
    assert one.item.tolist() == other.item.tolist() == [3, 2]
    assert other.item.dtype == np.int64
