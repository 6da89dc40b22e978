"""Fields as arrays: id, dense and multi-valued ones, in their order, against a slow reference."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import statistics
from training.data.columns import Columns, Layout, columns, layout, padded_lists, side_by_side
from training.data.statistics import measured
from training.schema import Field, Schema

FIELDS = (
    Field(name="time", role="event", kind="dense", uses=("time",)),
    Field(name="tags", role="item", kind="multi", cardinality=9, width=2),
    Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=4),
    Field(name="hour", role="event", kind="dense"),
    Field(name="picture", role="item", kind="vector", width=3),
    Field(name="words", role="user", kind="multi", cardinality=5, width=3),
    Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=3),
    Field(name="age", role="user", kind="dense", uses=("profile",)),
    Field(name="channel", role="event", kind="id", uses=("scenario",), cardinality=2),
    Field(name="title", role="item", kind="text"),
)
ROWS = Layout(
    (
        Field(name="id", role="item", kind="id", cardinality=4),
        Field(name="number", role="item", kind="dense"),
        Field(name="tags", role="item", kind="multi", cardinality=6, width=2),
        Field(name="other", role="item", kind="dense"),
        Field(name="words", role="item", kind="multi", cardinality=3, width=1),
    )
)


def test_fields_are_those_of_a_use_and_a_kind_that_models_read_users_first_then_events_then_items() -> None:
    schema = Schema(dataset="made", fields=FIELDS)
    found = layout(schema, "key", "feature", "scenario")
    assert [field.name for field in found.fields] == ["words", "user_id", "hour", "channel", "tags", "item_id"]
    assert found.sizes == (2, 3, 2, 2, 2, 4), "of a dense or multi-valued field only whether it is there"
    assert found.dense == (2,)
    assert [tuple(one) for one in found.sets] == [(0, 0, 3, 5), (4, 3, 5, 9)]
    assert found.set_width == 5
    assert [field.name for field in found.of("user", "event").fields] == ["words", "user_id", "hour", "channel"]
    assert found.of("item").set_width == 2
    profile = layout(schema, "profile", "scenario")
    assert [field.name for field in profile.fields] == ["words", "age", "hour", "channel", "tags"]
    assert Layout(()).set_width == 0


def test_a_key_is_the_number_of_the_row_and_what_is_missing_is_told_apart_from_zero() -> None:
    frame = pl.DataFrame(
        {
            "kind": [3, 0, 1],
            "number": pl.Series([0.0, None, float("nan")], dtype=pl.Float64),
            "tags": [[], [4, 2], None],
        }
    )
    fields = Layout(
        (
            Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=3),
            Field(name="tags", role="user", kind="multi", cardinality=5, width=2),
            Field(name="kind", role="user", kind="id", cardinality=4),
            Field(name="number", role="user", kind="dense"),
        )
    )
    found = columns(frame, fields)
    assert found.ids.tolist() == [[0, 0, 3, 1], [1, 1, 0, 0], [2, 0, 1, 0]]
    assert found.dense[0].tolist() == [0.0]
    assert np.isnan(found.dense[1:]).all()
    assert found.sets.tolist() == [[0, 0], [4, 2], [0, 0]]
    assert [part.dtype for part in found] == [np.int64, np.float32, np.int64]


def test_rows_and_sides_keep_all_parts_together() -> None:
    one = Columns(np.array([[1], [2]]), np.array([[0.5], [0.25]], np.float32), np.array([[7, 8], [9, 0]]))
    other = Columns(np.array([[3], [4]]), np.zeros((2, 0), np.float32), np.array([[5], [6]]))
    both = side_by_side((one, other)).rows(np.array([1, 0, 1]))
    assert both.ids.tolist() == [[2, 4], [1, 3], [2, 4]]
    assert both.dense.tolist() == [[0.25], [0.5], [0.25]]
    assert both.sets.tolist() == [[9, 0, 6], [7, 8, 5], [9, 0, 6]]


lists_of = st.lists(st.one_of(st.none(), st.lists(st.integers(1, 99), max_size=5)), max_size=12)


@settings(deadline=None)
@given(lists=lists_of, width=st.integers(1, 4))
def test_padded_lists_hold_the_first_values_then_zeros(lists: list[list[int] | None], width: int) -> None:
    series = pl.Series(lists, dtype=pl.List(pl.Int64))
    expected = [([*(values or []), *[0] * width])[:width] for values in lists]
    assert padded_lists(series, width).tolist() == expected


number = st.one_of(st.just(float("nan")), st.floats(-1e3, 1e3, width=32))
row_of = st.tuples(
    st.integers(-2, 5),
    st.tuples(number, number),
    st.lists(st.integers(1, 5), max_size=2, unique=True),
    st.lists(st.integers(1, 4), max_size=1),
)
"""Ids and words go beyond their fields: 4 and 3."""


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(row_of, min_size=1, max_size=30), chunk=st.integers(1, 40))
def test_statistics_equal_a_walk_over_all_samples_in_chunks_of_any_size(rows: list, chunk: int) -> None:
    ids = np.array([[one, 1, int(bool(tags)), 1, int(bool(words))] for one, _, tags, words in rows])
    dense = np.array([numbers for _, numbers, _, _ in rows], np.float32)
    ids[:, [1, 3]] = ~np.isnan(dense)
    sets = np.array([[*tags, *[0] * (2 - len(tags)), *words, *[0] * (1 - len(words))] for _, _, tags, words in rows])
    asked: list[int] = []

    def samples(numbers: np.ndarray) -> Columns:
        asked.extend(numbers.tolist())
        assert len(numbers) <= chunk
        return Columns(ids, dense, sets).rows(numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_CHUNK", chunk)
        found = measured(ROWS, samples, len(rows))
    assert asked[min(chunk, len(rows)) :] == list(range(len(rows))), "after a look at the first ones each sample once"
    offset = 0
    for place, size in enumerate(ROWS.sizes):
        inside = [value if 0 <= value < size else 0 for value in ids[:, place].tolist()]
        assert found.counts[offset : offset + size].tolist() == [inside.count(value) for value in range(size)]
        offset += size
    for column in (0, 1):
        there = [float(value) for value in dense[:, column] if not math.isnan(value)]
        mean = sum(there) / len(there) if there else 0.0
        deviation = math.sqrt(sum((value - mean) ** 2 for value in there) / len(there)) if there else 0.0
        assert found.mean[column] == pytest.approx(mean, rel=1e-5, abs=1e-5)
        assert found.deviation[column] == pytest.approx(deviation if len(set(there)) > 1 else 1.0, rel=1e-3, abs=1e-6)
    for column, size, share in zip((2, 3), (6, 3), found.set_shares, strict=True):
        held = [[value for value in row[column] if 0 < value < size] for row in rows]
        of_each = [sum(one.count(value) / len(one) for one in held if one) / len(rows) for value in range(size)]
        np.testing.assert_allclose(share, of_each, rtol=1e-6)


def test_a_dense_field_that_never_varies_or_never_is_there_keeps_its_scale() -> None:
    dense = np.array([[0.1, np.nan]] * 7, np.float32)
    fixed = Columns(np.zeros((7, 5), np.int64), dense, np.zeros((7, 3), np.int64))
    found = measured(ROWS, fixed.rows, 7)
    assert found.mean.tolist() == [np.float32(0.1), 0.0]
    assert found.deviation.tolist() == [1.0, 1.0]


def test_a_time_in_seconds_keeps_its_deviation() -> None:
    dense = np.stack([2**30 + 128.0 * np.arange(100), np.full(100, 2.0**30)], axis=1).astype(np.float32)
    found = measured(ROWS, Columns(np.zeros((100, 5), np.int64), dense, np.zeros((100, 3), np.int64)).rows, 100)
    assert found.deviation[0] == pytest.approx(128 * np.arange(100).std(), rel=1e-6)
    assert found.deviation[1] == 1.0
