"""Histories and splits against a slow reference that walks over one event at a time."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training.data.ranking import USER_FIELDS, Catalogue, RankingData, split_by_time

NUM_USERS, NUM_ITEMS = 4, 9
Row = tuple[int, int, int, int]

rows_strategy = st.lists(
    st.tuples(st.integers(1, NUM_USERS), st.integers(1, NUM_ITEMS), st.integers(1, 5), st.integers(100, 112)),
    min_size=10,
    max_size=60,
)


def make(rows: list[Row], max_length: int) -> RankingData:
    user_fields = np.arange((NUM_USERS + 1) * len(USER_FIELDS)).reshape(NUM_USERS + 1, -1)
    catalogue = Catalogue(
        titles={},
        genres=("one",),
        item_genres=np.zeros((NUM_ITEMS + 1, 1), np.float32),
        user_fields=user_fields,
        field_values=dict.fromkeys(USER_FIELDS, ("unknown", "a")),
    )
    ratings = pl.DataFrame(rows, schema=["user", "item", "rating", "timestamp"], orient="row")
    return split_by_time("made", ratings, catalogue, max_length)


def splittable(rows: list[Row]) -> list[Row]:
    """The rows, then as many again in seconds of their own, so that no part is empty."""
    later = range(len(rows))
    return [*rows, *((1 + n % NUM_USERS, 1 + n % NUM_ITEMS, 1 + n % 5, 113 + n) for n in later)]


def past(rows: list[Row], target: Row, max_length: int) -> list[tuple[int, int]]:
    """(item, rating) of the events before the target, newest first, of one second the later row first."""
    found = [(row[3], number, row[1], row[2]) for number, row in enumerate(rows)]
    before = [event for event, row in zip(found, rows, strict=True) if row[0] == target[0] and row[3] < target[3]]
    return [(item, rating) for _, _, item, rating in sorted(before, reverse=True)][:max_length]


@settings(max_examples=60, deadline=None)
@given(rows=rows_strategy, max_length=st.integers(1, 12), seed=st.integers(0, 99))
def test_batches_equal_the_reference(rows: list[Row], max_length: int, seed: int) -> None:
    rows = splittable(rows)
    data = make(rows, max_length)
    targets = [row for _, _, row in sorted((row[3], number, row) for number, row in enumerate(rows))]
    for split in (data.train, data.validation, data.test):
        mine, targets = targets[: len(split)], targets[len(split) :]
        order = np.random.default_rng(seed).permutation(len(split))
        batch = split.batch(order)
        histories = [past(rows, mine[row], max_length) for row in order]
        lengths = [len(history) for history in histories]
        assert batch.history_length.tolist() == lengths == split.cost()[order].tolist()
        assert batch.history_items.shape == (len(order), max(1, *lengths))
        for place, (row, history) in enumerate(zip(order, histories, strict=True)):
            padding = [(0, 0)] * (batch.history_items.shape[1] - len(history))
            found = zip(batch.history_items[place].tolist(), batch.history_ratings[place].tolist(), strict=True)
            assert list(found) == history + padding
            user, item, rating, time = mine[row]
            assert (batch.user[place], batch.item[place], batch.label[place]) == (user, item, float(rating >= 4))
            assert batch.user_fields[place].tolist() == data.user_fields[user].tolist()
            assert (split.user[row], split.label[row], split.timestamp[row]) == (user, float(rating >= 4), time)
    assert not targets


@settings(max_examples=60, deadline=None)
@given(rows=rows_strategy)
def test_splits_are_disjoint_complete_and_ordered_in_time(rows: list[Row]) -> None:
    rows = splittable(rows)
    data = make(rows, 5)
    splits = (data.train, data.validation, data.test)
    assert sum(len(split) for split in splits) == len(rows)
    for earlier, later in pairwise(splits):
        assert earlier.timestamp.max() < later.timestamp.min()
    assert len(data.train) >= round(0.8 * len(rows))
    assert data.train_item_counts.sum() == len(data.train)


@settings(max_examples=40, deadline=None)
@given(rows=rows_strategy, max_length=st.integers(1, 8))
def test_no_history_holds_an_event_of_the_targets_second_or_later(rows: list[Row], max_length: int) -> None:
    # Every rating gets an item of its own, so that the item tells which event it was.
    unlike = [(user, number + 1, rating, time) for number, (user, _, rating, time) in enumerate(splittable(rows))]
    times = np.array([0, *(time for *_, time in unlike)])
    owners = np.array([0, *(user for user, *_ in unlike)])
    data = make_wide(unlike, max_length)
    for split in (data.train, data.validation, data.test):
        batch = split.batch(np.arange(len(split)))
        items = batch.history_items.numpy()
        real = items > 0
        assert (times[items] < split.timestamp[:, None])[real].all()
        assert (owners[items] == split.user[:, None])[real].all()


def make_wide(rows: list[Row], max_length: int) -> RankingData:
    catalogue = Catalogue(
        titles={},
        genres=(),
        item_genres=np.zeros((len(rows) + 1, 0), np.float32),
        user_fields=np.zeros((NUM_USERS + 1, len(USER_FIELDS)), np.int64),
        field_values={},
    )
    ratings = pl.DataFrame(rows, schema=["user", "item", "rating", "timestamp"], orient="row")
    return split_by_time("made", ratings, catalogue, max_length)


def spread(count: int) -> list[Row]:
    return [(1 + number % 2, 1 + number % NUM_ITEMS, 1 + number % 5, 1000 + number) for number in range(count)]


def test_ratings_of_the_border_second_go_to_the_earlier_part() -> None:
    rows = spread(20)
    # The 16th event closes the first 80 %; the 17th shares its second.
    rows[16] = (*rows[16][:3], rows[15][3])
    data = make(rows, 4)
    assert (len(data.train), len(data.validation), len(data.test)) == (17, 1, 2)


def test_dtypes_and_shapes_are_as_promised() -> None:
    batch = make(spread(30), 4).test.batch(np.array([0, 1]))
    for name, value in batch._asdict().items():
        assert value.dtype == (torch.float32 if name == "label" else torch.int64), name
    assert batch.history_items.shape == (2, 4)


def test_a_batch_of_empty_histories_is_one_wide() -> None:
    batch = make(spread(30), 4).train.batch(np.array([0]))
    assert batch.history_items.tolist() == [[0]]
    assert batch.history_length.tolist() == [0]


def test_serving_starts_from_the_state_after_all_events() -> None:
    rows = spread(30)
    data = make(rows, 6)
    histories = data.histories()
    assert histories["user_ids"].tolist() == [1, 2, 3, 4], "the last two have not rated, and their history is empty"
    for place, user in enumerate([1, 2]):
        expected = past(rows, (user, 0, 0, 10**6), 6)
        found = zip(histories["history_items"][place], histories["history_ratings"][place], strict=True)
        assert list(found) == expected
    assert histories["history_length"].tolist() == [[6], [6], [0], [0]]
    assert not histories["history_items"][2:].any()
    assert histories["user_fields"].tolist() == data.user_fields[1:].tolist()
    assert all(value.dtype == np.int64 for value in histories.values())


def test_seen_and_liked_follow_the_events() -> None:
    rows: list[Row] = [(1, 5, 5, 10), (1, 6, 3, 11), (1, 7, 4, 12), *((2, 1, 1, 20 + n) for n in range(20))]
    data = make(rows, 4)
    assert data.seen(1) == {5, 6, 7}
    assert data.liked(1, 5) == [7, 5]
    assert data.liked(1, 1) == [7]
    assert data.seen(4) == set()


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="max_length is 0"):
        make(spread(30), 0)
    with pytest.raises(ValueError, match="too few distinct timestamps"):
        make([(1, 1, 5, 7)] * 10, 4)
