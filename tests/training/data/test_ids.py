"""Ids of any int64: no history, table or measure takes one for another."""

import copy
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.state.record import Key, decode_key, encode_key
from tests.kernels.frequency_logs import sampler, tables
from tests.training.click_views import fields
from training.data.ids import table_rows, whole_numbers
from training.data.log import Log
from training.layers.fields import FieldEmbedding
from training.layers.id_tables import IdTables
from training.metrics import gauc

SAMPLER = sampler()
LEAST, MOST = -(2**63), 2**63 - 1
EXTREMES = (LEAST, LEAST + 1, -(2**62), -(2**32), -1, 0, 1, 2**31, 2**32 + 1, 2**53, 2**53 + 1, 2**62, MOST - 1, MOST)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Other load on the machine fails nothing."""
any_id = st.one_of(st.sampled_from(EXTREMES), st.integers(LEAST, MOST), st.integers(2**61, 2**62), st.integers(-3, 3))


@st.composite
def logs(draw: st.DrawFn) -> pl.DataFrame:
    """Few users, items and moments, so that they meet; each of them any int64."""
    users, items, moments = (draw(st.lists(any_id, min_size=1, max_size=5, unique=True)) for _ in range(3))
    row = st.tuples(st.sampled_from(users), st.sampled_from(items), st.integers(1, 5), st.sampled_from(moments))
    rows = draw(st.lists(row, min_size=1, max_size=40))
    return pl.DataFrame(rows, schema=dict.fromkeys(("user", "item", "value", "time"), pl.Int64), orient="row")


def labelled(log: pl.DataFrame) -> Log:
    """All of it positive."""
    return Log(log.with_columns(label=pl.lit(1.0, pl.Float32)))


@settings(PATIENT, max_examples=300)
@given(log=logs())
def test_the_past_of_an_event_is_what_its_user_did_before_it(log: pl.DataFrame) -> None:
    """Against a walk over all rows, one event at a time, in whole numbers of Python."""
    rows = list(enumerate(log.rows()))
    events = labelled(log)
    ordered = sorted(rows, key=lambda entry: (entry[1][0], entry[1][3], entry[0]))
    for place, (_, (user, item, _, moment)) in enumerate(ordered):
        assert (events.user[place], events.item[place], events.time[place]) == (user, item, moment)
        past = [row for _, row in ordered if row[0] == user and row[3] < moment]
        found = range(events.past_start[place], events.past_end[place])
        assert events.past_start[place] <= events.past_end[place]
        assert [ordered[number][1] for number in found] == past
        assert sorted(ordered[events.of(user)]) == sorted(entry for entry in rows if entry[1][0] == user)


@settings(PATIENT, max_examples=100)
@given(log=logs(), stranger=any_id)
def test_windows_hold_the_newest_events_of_the_user_and_of_nobody_else(log: pl.DataFrame, stranger: int) -> None:
    events = labelled(log)
    starts, ends = events.past(np.arange(len(events)))
    items, _ = events.windows(ends, np.minimum(ends - starts, 3), 3)
    for place in range(len(events)):
        past = events.item[events.past_start[place] : events.past_end[place]][::-1][:3].tolist()
        assert items[place].tolist() == past + [0] * (3 - len(past))
    if stranger not in events.user:
        assert events.of(stranger) in (slice(place, place) for place in range(len(events) + 1))


@settings(PATIENT, max_examples=100)
@given(key=st.tuples(any_id, any_id))
def test_keys_of_states_are_told_apart_and_sort_as_the_users(key: tuple[int, int]) -> None:
    one, other = (encode_key(Key("user_state", 1, user)) for user in key)
    decoded = decode_key(one)
    assert decoded is not None
    assert decoded.user == key[0]
    assert (one < other, one == other) == (key[0] < key[1], key[0] == key[1])


@settings(PATIENT, max_examples=60)
@given(users=st.lists(any_id, min_size=2, max_size=12), data=st.data())
def test_gauc_pairs_no_two_users(users: list[int], data: st.DataObject) -> None:
    """As of the same users under small numbers."""
    labels, scores = (
        np.array(data.draw(st.lists(st.integers(0, most), min_size=len(users), max_size=len(users))), np.float32)
        for most in (1, 3)
    )
    small = [sorted(set(users)).index(user) for user in users]
    measured = []
    for ids in (users, small):
        try:
            measured.append(gauc(np.array(ids, np.int64), labels, scores))
        except ValueError:
            measured.append(None)
    assert measured[0] == measured[1]


@settings(PATIENT, max_examples=30)
@given(ids=st.lists(any_id, min_size=1, max_size=20, unique=True), asked=st.lists(any_id, min_size=1, max_size=20))
def test_the_sampler_finds_each_user_by_the_whole_id(ids: list[int], asked: list[int]) -> None:
    known = np.array(sorted(ids))
    one = copy.copy(SAMPLER)
    one.tables = replace(tables(users=len(known)), user_ids=known)
    places = one._user_places(np.array([*asked, *ids]))
    assert places.tolist() == [known.tolist().index(user) if user in ids else len(ids) for user in [*asked, *ids]]


@settings(PATIENT, max_examples=30)
@given(asked=st.lists(any_id, min_size=1, max_size=10))
def test_the_tables_of_a_graph_take_any_stranger_for_nobody(asked: list[int]) -> None:
    data = fields()
    embedding = FieldEmbedding(data.features.layout, 2)
    embedding.prepare(data)
    graph = IdTables(data, embedding)
    users, items = graph(torch.tensor(asked)[:, None], torch.tensor(asked))
    table = graph.users.get_buffer("ids")
    for id_, user, item in zip(asked, users.tolist(), items.tolist(), strict=True):
        assert user == table[id_ if 0 <= id_ < len(table) else 0].tolist()
        assert item == graph.items[id_ if 0 <= id_ < len(graph.items) else 0].tolist()


def test_an_id_that_cannot_number_a_row_is_refused_and_not_read_from_the_other_end() -> None:
    for bad in (-1, 5, 2**62):
        with pytest.raises(ValueError, match=r"x ids range over .* map them to 1 to 4 first"):
            table_rows("x", np.array([0, bad]), 5)
    assert table_rows("x", np.array([0, 4]), 5).tolist() == [0, 4]
    assert table_rows("x", np.zeros(0, np.int64), 5).tolist() == []


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pl.Series("user", [1.0, 2.0]), "column 'user' is Float64 with 0 nulls; give it a whole number in each row"),
        (pl.Series("user", [1, None]), "column 'user' is Int64 with 1 nulls"),
        (pl.Series("user", ["7"]), "column 'user' is String"),
        (pl.Series("user", [2**63], dtype=pl.UInt64), "holds 9223372036854775808, beyond int64"),
    ],
)
def test_a_column_that_would_change_its_ids_is_refused(column: pl.Series, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        whole_numbers(column)


def test_small_and_unsigned_columns_keep_their_ids() -> None:
    for dtype in (pl.Int8, pl.UInt32, pl.UInt64):
        assert whole_numbers(pl.Series("user", [0, 127], dtype=dtype)).tolist() == [0, 127]
