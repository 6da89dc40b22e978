"""Histories and splits against a slow reference that walks over one event at a time, and what a request means."""

from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.click_views import BOTH, CONTEXT, NUM_USERS, everything, fields, view
from tests.training.data.made_clicks import Row, in_time, interactions, past, rows_strategy, splittable, spread
from training.asking import met_by
from training.data.click import FEATURES, HISTORY, ClickBatch, ClickData, now

ONLY_HISTORY, ONLY_FEATURES = frozenset({HISTORY}), frozenset({FEATURES})


def make(rows: list[Row], max_length: int, *, values: bool = True) -> ClickData:
    return view(interactions(rows, values=values), max_length=max_length)


@settings(max_examples=60, deadline=None)
@given(rows=rows_strategy, max_length=st.integers(1, 12), seed=st.integers(0, 99), values=st.booleans())
def test_batches_equal_the_reference(rows: list[Row], max_length: int, seed: int, *, values: bool) -> None:
    rows = splittable(rows)
    data, targets = make(rows, max_length, values=values), in_time(rows)
    for split in (data.train, data.validation, data.test):
        mine, targets = targets[: len(split)], targets[len(split) :]
        order = np.random.default_rng(seed).permutation(len(split))
        batch = split.batch(order)
        histories = [past(rows, mine[row], max_length, values=values) for row in order]
        lengths = [len(history) for history in histories]
        assert batch.history_length.tolist() == lengths == split.cost()[order].tolist()
        assert batch.history_items.shape == (len(order), max(1, *lengths))
        for place, (row, history) in enumerate(zip(order, histories, strict=True)):
            padding = [(0, 0)] * (batch.history_items.shape[1] - len(history))
            found = zip(batch.history_items[place].tolist(), batch.history_values[place].tolist(), strict=True)
            assert list(found) == history + padding
            user, item, rating, time = mine[row]
            assert (batch.user[place], batch.item[place], batch.label[place]) == (user, item, float(rating >= 4))
            assert batch.ids[place].tolist() == [user, 10 + user, item]
            assert batch.profile[place].tolist() == [10 + user]
            assert (split.user[row], split.label[row], split.time[row]) == (user, float(rating >= 4), time)
    assert not targets


@settings(max_examples=60, deadline=None)
@given(rows=rows_strategy)
def test_splits_are_disjoint_complete_and_ordered_in_time(rows: list[Row]) -> None:
    rows = splittable(rows)
    data = make(rows, 5)
    splits = (data.train, data.validation, data.test)
    assert sum(len(split) for split in splits) == len(rows)
    for earlier, later in pairwise(splits):
        assert earlier.time.max() < later.time.min()
    assert len(data.train) >= round(0.8 * len(rows))
    assert data.train_item_counts.sum() == len(data.train)


@settings(max_examples=40, deadline=None)
@given(rows=rows_strategy, max_length=st.integers(1, 8))
def test_no_history_holds_an_event_of_the_targets_time_or_later(rows: list[Row], max_length: int) -> None:
    # Every rating gets an item of its own, so that the item tells which event it was.
    unlike = [(user, number + 1, rating, time) for number, (user, _, rating, time) in enumerate(splittable(rows))]
    times = np.array([0, *(time for *_, time in unlike)])
    owners = np.array([0, *(user for user, *_ in unlike)])
    data = make(unlike, max_length)
    for split in (data.train, data.validation, data.test):
        batch = split.batch(np.arange(len(split)))
        items = batch.history_items.numpy()
        real = items > 0
        assert (times[items] < split.time[:, None])[real].all()
        assert (owners[items] == split.user[:, None])[real].all()


def test_events_of_the_border_time_go_to_the_earlier_part() -> None:
    rows = spread(20)
    # The 16th event closes the first 80 %; the 17th shares its time.
    rows[16] = (*rows[16][:3], rows[15][3])
    data = make(rows, 4)
    assert (len(data.train), len(data.validation), len(data.test)) == (17, 1, 2)


def test_dtypes_and_shapes_are_as_promised() -> None:
    batch = view(everything()).test.batch(np.array([0, 1, 2]))
    floats = {"label", "dense", "profile_dense"}
    for name, value in batch._asdict().items():
        assert value.dtype == (torch.float32 if name in floats else torch.int64), name
        assert len(value) == 3
    assert (batch.ids.shape[1], batch.dense.shape[1], batch.sets.shape[1]) == (12, 3, 8)
    assert (batch.profile.shape[1], batch.profile_dense.shape[1], batch.profile_sets.shape[1]) == (7, 2, 6)


def test_what_nobody_reads_has_no_width() -> None:
    history = view(everything(), ONLY_HISTORY).test
    assert [part.shape[1] for part in history.batch(np.arange(3))[2:5]] == [0, 0, 0]
    assert (history.cost() > 1).any()
    features = view(everything(), ONLY_FEATURES).test
    batch = features.batch(np.arange(3))
    assert [part.shape[1] for part in batch[5:8]] == [0, 0, 0]
    assert batch.history_items.tolist() == [[0]] * 3
    assert batch.history_length.tolist() == [0, 0, 0]
    assert features.cost().tolist() == [1] * len(features)


def test_a_batch_of_empty_histories_is_one_wide() -> None:
    batch = make(spread(30), 4).train.batch(np.array([0]))
    assert batch.history_items.tolist() == [[0]]
    assert batch.history_length.tolist() == [0]


def test_serving_starts_from_the_state_after_all_events() -> None:
    rows = spread(30)
    data = make(rows, 6)
    histories = data.histories()
    assert list(histories) == ["history_items", "history_values", "history_length"]
    for user in (1, 2):
        expected = past(rows, (user, 0, 0, 10**6), 6)
        found = zip(histories["history_items"][user], histories["history_values"][user], strict=True)
        assert list(found) == expected
    assert histories["history_length"].tolist() == [[0], [6], [6], [0], [0]], "0 is unknown; the last two rated nothing"
    assert not histories["history_items"][[0, 3, 4]].any()
    assert all(value.dtype == np.int64 for value in histories.values())


def test_seen_and_liked_follow_the_events() -> None:
    rows: list[Row] = [(1, 5, 5, 10), (1, 6, 3, 11), (1, 7, 4, 12), *((2, 1, 1, 20 + n) for n in range(20))]
    data = make(rows, 4)
    found = data.interactions
    assert met_by(found.events, 1).tolist() == [5, 6, 7]
    assert met_by(found.positives, 1).tolist() == [5, 7]
    assert met_by(found.events, 4).tolist() == met_by(found.events, 10**6).tolist() == []


def test_settings_and_sets_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="max_length is 0"):
        make(spread(30), 0)
    with pytest.raises(ValueError, match="made: too few distinct times among 10 events"):
        make([(1, 1, 5, 7)] * 10, 4)
    whole = interactions(spread(30))
    for name, said in (("time", "a time"), ("label", "a label"), ("item_id", "ids of items")):
        kept = tuple(field for field in whole.schema.fields if field.name != name)
        with pytest.raises(ValueError, match=f"made cannot be used for click prediction: it lacks {said}; "):
            view(replace(whole, schema=replace(whole.schema, fields=kept)))


def test_features_are_the_fields_of_user_event_and_item_as_they_were_at_the_event() -> None:
    whole = everything()
    data = view(whole)
    names = [field.name for field in data.features.layout.fields]
    assert names == [
        *("user_id", "user_kind", "user_number", "user_tags", "last_kind"),
        *CONTEXT,
        *("item_id", "item_kind", "item_number", "item_tags"),
    ]
    assert [field.name for field in data.profile.layout.fields] == [*names[1:5], *CONTEXT]
    assert [field.name for field in data.context] == list(CONTEXT)
    events = whole.events.with_row_index("row").sort("time", "row")
    sizes = len(data.train), len(data.validation)
    for split, start in ((data.train, 0), (data.test, sum(sizes))):
        batch = split.batch(np.arange(len(split)))
        for place in range(0, len(split), 7):
            event = events.row(start + place, named=True)
            user = whole.users.row(event["user"], named=True)
            item = whole.items.row(event["item"], named=True)
            tags, words, own = user["user_tags"], event["words"], item["item_tags"]
            assert batch.ids[place].tolist() == [
                *(event["user"], user["user_kind"], not np.isnan(user["user_number"]), bool(tags), event["last_kind"]),
                *(event["channel"], not np.isnan(event["hour"]), bool(words)),
                *(event["item"], item["item_kind"], not np.isnan(item["item_number"]), bool(own)),
            ]
            expected = [user["user_number"], event["hour"], item["item_number"]]
            np.testing.assert_array_equal(batch.dense[place], np.array(expected, np.float32))
            padded = [([*values, 0, 0, 0])[:width] for values, width in ((tags, 3), (words, 3), (own, 2))]
            assert batch.sets[place].tolist() == [*chain(*padded)]
            assert batch.profile[place].tolist() == batch.ids[place, 1:8].tolist()
            assert batch.profile_sets[place].tolist() == padded[0] + padded[1]
            np.testing.assert_array_equal(batch.profile_dense[place], np.array(expected[:2], np.float32))


def test_a_varying_field_is_that_of_the_event_and_not_the_last_one() -> None:
    data = view(everything())
    batch = data.train.batch(np.arange(len(data.train)))
    latest = data.features.users.ids[batch.user, 4]
    assert 0.3 < (batch.ids[:, 4].numpy() != latest).mean()
    assert (batch.profile[:, 3] == batch.ids[:, 4]).all()


def test_only_ids_may_vary() -> None:
    whole = everything()
    odd = replace(whole, events=whole.events.with_columns(user_number=pl.lit(1.0)))
    with pytest.raises(ValueError, match=r"everything: user fields \['user_number'\] change with time, which only"):
        view(odd)


def test_the_statistics_are_those_of_the_training_part() -> None:
    data = view(everything())
    batch = data.train.batch(np.arange(len(data.train)))
    found = data.statistics
    sizes = data.features.layout.sizes
    assert len(found.counts) == sum(sizes)
    expected = [np.bincount(column, minlength=size) for column, size in zip(batch.ids.T, sizes, strict=True)]
    assert found.counts.tolist() == np.concatenate(expected).tolist()
    np.testing.assert_allclose(found.mean, np.nanmean(batch.dense.numpy(), axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.deviation, np.nanstd(batch.dense.numpy(), axis=0), rtol=1e-5)


def without_last(data_of: int, reads: frozenset[str]) -> tuple[ClickBatch, ClickBatch]:
    """The split's batch of a user's last event, and the same asked for where that event has not happened yet."""
    whole = everything()
    user = whole.events["user"][data_of]
    own = whole.events.with_row_index("row").filter(pl.col("user") == user)
    last = own.row(-1, named=True)
    before = whole.events.with_row_index("row").filter(pl.col("row") != last["row"]).drop("row")
    kinds = whole.users["last_kind"].to_list()
    kinds[user] = last["last_kind"]
    earlier = replace(whole, events=before, users=whole.users.with_columns(last_kind=pl.Series(kinds)))
    split = view(whole, reads).test
    place = int(np.flatnonzero(split.source.log.row[split.places] == last["row"])[0])
    moment = [np.array(last["channel"])[None], np.array(last["hour"])[None], np.array([*last["words"], 0, 0, 0][:3])]
    return split.batch(np.array([place])), now(view(earlier, reads), user, np.array([last["item"]]), moment)


@pytest.mark.parametrize("reads", [ONLY_HISTORY, ONLY_FEATURES, BOTH], ids=lambda reads: "-".join(sorted(reads)))
def test_a_request_now_is_what_the_next_event_would_be(reads: frozenset[str]) -> None:
    for event in (-1, -20, -30):
        expected, found = without_last(len(everything().events) + event, reads)
        for name, wanted, got in zip(ClickBatch._fields, expected, found, strict=True):
            if name != "label":
                np.testing.assert_array_equal(got, wanted, err_msg=name)
                assert got.dtype == wanted.dtype


def test_whoever_is_unknown_has_the_row_of_nobody_and_an_empty_history() -> None:
    data = view(everything(context=False))
    items = np.array([3, 0, -1, 2**62, len(data.interactions.items)])
    nobody = now(data, 0, items)
    for user in (-1, NUM_USERS + 1, 2**62, -(2**63)):
        for name, one, same in zip(ClickBatch._fields, nobody, now(data, user, items), strict=True):
            np.testing.assert_array_equal(one, same, err_msg=name)
    assert nobody.item.tolist() == [3, 0, 0, 0, 0]
    assert nobody.ids[1:, 5:].abs().sum() == 0
    assert nobody.ids[:, :5].abs().sum() == 0
    assert nobody.history_length.tolist() == [0] * 5
    assert nobody.dense[1:].isnan().all()
    alone = now(data, NUM_USERS, items)
    assert alone.ids[0, :2].tolist() == [NUM_USERS, data.features.users.ids[NUM_USERS, 1]]
    assert alone.history_length.tolist() == [0] * 5, "a user without events has fields"


def test_a_request_without_items_is_an_empty_batch() -> None:
    assert {len(part) for part in now(view(everything(context=False)), 3, np.zeros(0, np.int64))} == {0}


def test_the_parts_follow_each_other_in_time_and_users_have_one_row_each() -> None:
    data = fields()
    assert [field.name for field in data.features.layout.fields] == ["user_id", "group", "item_id", "brand", "category"]
    assert len(data.train) + len(data.validation) + len(data.test) == len(data.log) == 64 * 32
    assert abs(len(data.train) - 0.8 * len(data.log)) <= 1
    batch = data.train.batch(np.array([3, 1]))
    for user, item, row in zip(batch.user, batch.item, batch.ids, strict=True):
        assert row[:2].tolist() == data.features.users.ids[user].tolist()
        assert row[2:].tolist() == data.features.items.ids[item].tolist()
