"""Ids, codes and times for any input."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.folder.labels import BUCKETS, MOST_CODES, codes
from training.data.folder.parts import borders
from training.data.folder.problems import Column, Problems
from training.data.folder.raw_ids import mapped
from training.data.folder.times import ticks, times

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
FINITE = st.floats(-1e9, 1e9, allow_subnormal=False)


def column(values: pl.Series, typed: bool = True) -> Column:
    return Column("events.parquet", "id", values, typed, Problems())


@settings(deadline=None)
@given(st.one_of(st.lists(INT64, min_size=1), st.lists(TEXT, min_size=1)), st.data())
def test_any_int64_or_text_is_an_id_and_comes_back_as_it_was(
    values: list[int] | list[str], data: st.DataObject
) -> None:
    dtype = pl.String if isinstance(values[0], str) else pl.Int64
    others = data.draw(st.lists(st.sampled_from(values)))
    found = mapped([column(pl.Series(part, dtype=dtype)) for part in (values, others)])
    assert found is not None
    assert [found.ids.raw(dense.to_numpy()).tolist() for dense in found.columns] == [values, others]
    assert found.columns[0].max() == len(set(values))


@settings(deadline=None)
@given(st.lists(INT64, min_size=1))
def test_numbers_of_a_csv_file_are_those_of_a_parquet_file(values: list[int]) -> None:
    numbers = pl.Series(values, dtype=pl.Int64)
    of_csv, of_parquet = mapped([column(numbers.cast(pl.String), typed=False)]), mapped([column(numbers)])
    assert of_csv is not None
    assert of_parquet is not None
    assert of_csv.ids == of_parquet.ids
    assert of_csv.columns[0].equals(of_parquet.columns[0])


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=200))
def test_codes_keep_the_order_of_values(values: list[float]) -> None:
    found = codes(pl.Series(values, dtype=pl.Float64), np.arange(max(1, len(values) * 4 // 5)))
    numbers = found.codes.to_numpy()
    order = np.argsort(values, kind="stable")
    assert (np.diff(numbers[order]) >= 0).all()
    assert numbers.min() >= 1
    assert numbers.max() < len(found.names) <= 1 + max(MOST_CODES, BUCKETS)
    if len(set(values)) <= MOST_CODES:
        assert len(set(numbers.tolist())) == len(set(values))


def test_buckets_have_equal_frequency_and_are_fitted_on_the_given_events_alone() -> None:
    values = np.random.default_rng(0).permutation(1600).astype(np.float64)
    early = np.flatnonzero(values < 800)
    found = codes(pl.Series(values), early)
    assert np.bincount(found.codes.to_numpy()[early])[1:].tolist() == [50] * BUCKETS
    assert (found.codes.to_numpy()[values >= 800] == BUCKETS).all()
    assert found.names[:3] == ("unknown", "up to 49", "over 49 to 99")


@given(st.lists(st.integers(-100, 100), min_size=1))
def test_parts_by_time_never_share_a_moment_and_hold_at_least_their_share(values: list[int]) -> None:
    edges = borders(np.array(values))
    ordered = sorted(values)
    assert edges.train <= edges.validation
    assert edges.train == ordered[max(1, round(len(values) * 0.8)) - 1]
    assert sum(value <= edges.validation for value in values) >= round(len(values) * 0.9)


MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2026, 1, 1))


@given(st.lists(MOMENTS, min_size=1))
def test_a_moment_is_the_same_as_text_as_datetime_and_in_another_zone(moments: list[datetime]) -> None:
    micros = [
        (one.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for one in moments
    ]
    plain = pl.Series(moments, dtype=pl.Datetime("us"))
    zoned = plain.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    texts = pl.Series([f"{one.isoformat()}Z" for one in moments])
    found = [times(column(values)) for values in (plain, zoned, texts)]
    for one in found:
        assert one is not None
        scale = next(scale for scale in (1_000_000, 1_000, 1) if all(micro % scale == 0 for micro in micros))
        assert (one * scale).to_list() == micros


def test_the_size_of_a_time_tells_its_unit() -> None:
    second = 1_700_000_000
    for rate in (1, 1_000, 1_000_000, 1_000_000_000):
        assert ticks(pl.Series([second * rate, second * rate + 1])) == rate


def test_dates_and_minutes_are_times() -> None:
    for text, seconds in (
        ("2024-05-17", 1715904000),
        ("2024-05-17 08:30", 1715934600),
        ("2024-05-17T08:30+02:00", 1715927400),
    ):
        found = times(column(pl.Series([text])))
        assert found is not None
        assert found.to_list() == [seconds]
