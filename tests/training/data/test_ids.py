"""Ids of any int64: no key, table or measure takes one for another. Histories: `test_log`."""

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
from training.layers.fields import FieldEmbedding
from training.layers.id_tables import IdTables
from training.metrics import gauc

SAMPLER = sampler()
LEAST, MOST = -(2**63), 2**63 - 1
EXTREMES = (LEAST, LEAST + 1, -(2**62), -(2**32), -1, 0, 1, 2**31, 2**32 + 1, 2**53, 2**53 + 1, 2**62, MOST - 1, MOST)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Other load on the machine fails nothing."""
any_id = st.one_of(st.sampled_from(EXTREMES), st.integers(LEAST, MOST), st.integers(2**61, 2**62), st.integers(-3, 3))


@settings(PATIENT, max_examples=100)
@given(key=st.tuples(any_id, any_id))
def test_keys_of_states_are_told_apart_and_sort_as_the_users(key: tuple[int, int]) -> None:
    one, other = (encode_key(Key("user_state", 1, user)) for user in key)
    assert decode_key(one).user == key[0]
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
def test_the_tables_of_a_graph_take_any_stranger_for_the_new_user(asked: list[int]) -> None:
    data = fields()
    embedding = FieldEmbedding(data.features.layout, 2)
    embedding.prepare(data)
    graph = IdTables(data, embedding)
    users, items = graph(torch.tensor(asked), torch.tensor(asked))
    sides = data.features.users.ids, data.features.items.ids
    for found, known in ((users, graph.users), (items, graph.items)):
        inside = [one if 0 <= one < len(known) else 0 for one in asked]
        assert found.tolist() == known[inside].tolist()
    expected = embedding.known(torch.from_numpy(np.concatenate([sides[0][7], sides[1][9]]))[None])
    assert graph.users[7].tolist() + graph.items[9].tolist() == expected[0].tolist()
    assert not graph.users[0].any()
    assert not graph.items[0].any()


def test_an_id_that_cannot_number_a_row_is_refused_and_not_read_from_the_other_end() -> None:
    for user in (-1, 5, 2**62):
        with pytest.raises(ValueError, match=r"planted: user ids range over .* map them to 1 to 4 first"):
            table_rows("planted: user", np.array([1, user]), 5)
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
