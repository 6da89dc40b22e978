"""The true set under the documented protocol."""

import numpy as np
import pytest

from training.data.movielens import MovieLens, load


@pytest.fixture(scope="module")
def data() -> MovieLens:
    return load(max_length=64)


@pytest.mark.slow
def test_the_parts_have_the_documented_sizes_and_do_not_overlap_in_time(data: MovieLens) -> None:
    assert (len(data.train), len(data.validation), len(data.test)) == (80_003, 9_997, 10_000)
    assert data.train.timestamp.max() < data.validation.timestamp.min()
    assert data.validation.timestamp.max() < data.test.timestamp.min()
    assert data.train_item_counts.shape == (1683,)
    assert data.train_item_counts.sum() == 80_003


@pytest.mark.slow
def test_tables_are_indexed_by_raw_id(data: MovieLens) -> None:
    assert data.titles[1] == "Toy Story (1995)"
    assert [data.genres[i] for i in np.flatnonzero(data.item_genres[1])] == ["Animation", "Children's", "Comedy"]
    assert data.item_genres.shape == (1683, 19)
    assert not data.item_genres[0].any()
    assert data.item_genres[1:].any(1).all()


@pytest.mark.slow
def test_user_fields_are_bucketed_and_named_by_the_schema(data: MovieLens) -> None:
    assert data.user_fields.shape == (944, 4)
    # User 1 is 24, a technician from 85711.
    names = [data.schema[name].values for name in ("age", "gender", "occupation", "zip_region")]
    first = [values[number] for values, number in zip(names, data.user_fields[1], strict=True) if values]
    assert first == ["18-24", "M", "technician", "8"]
    assert [len(values) for values in names if values] == [8, 3, 22, 12]
    assert [data.schema[name].cardinality for name in ("age", "gender", "occupation", "zip_region")] == [8, 3, 22, 12]
    assert (data.user_fields[0] == 0).all()
    assert (data.user_fields[1:] > 0).all()


@pytest.mark.slow
def test_the_schema_bounds_what_batches_hold(data: MovieLens) -> None:
    batch = data.test.batch(np.arange(2000))
    assert data.schema["user_id"].cardinality == 944
    assert int(batch.item.max()) < (data.schema["item_id"].cardinality or 0) == 1683
    assert batch.history_items.shape[1] == data.schema["history_items"].width == 64
    assert int(batch.history_ratings.max()) < (data.schema["history_ratings"].cardinality or 0) == 6


@pytest.mark.slow
def test_three_quarters_of_the_ratings_share_their_second(data: MovieLens) -> None:
    shared = data.ratings.select("user", "timestamp").is_duplicated().sum() / len(data.ratings)
    assert 0.7 < shared < 0.8
