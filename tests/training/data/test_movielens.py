"""The true set under the documented protocol."""

import numpy as np
import pytest

from tests.training.click_views import view
from tests.training.data.published_sets import at_hand, digests_of
from training.data.click import ClickData
from training.datasets import read

pytestmark = pytest.mark.slow
DIGESTS = {
    "splits": "82f7c43683497c90",
    "features": "fc2680936a89dba2",
    "profiles": "dc0fea366b6e25a2",
    "item profile": "6c98655cd1c26b58",
    "histories": "78d15b4c51e44635",
    "served histories": "4f49cd121dd2aa73",
    "served fields": "e2ca1aa7bfd04d1d",
}
"""Of the view with the 64 newest events; a change to any of them changes all published figures."""


@pytest.fixture(scope="module")
def data() -> ClickData:
    return view(at_hand("ml-100k"), max_length=64)


def test_the_parts_have_the_documented_sizes_and_do_not_overlap_in_time(data: ClickData) -> None:
    assert (len(data.train), len(data.validation), len(data.test)) == (80_003, 9_997, 10_000)
    assert data.train.time.max() < data.validation.time.min()
    assert data.validation.time.max() < data.test.time.min()
    assert data.train_item_counts.shape == (1683,)
    assert data.train_item_counts.sum() == 80_003


def test_ids_histories_and_splits_are_those_of_the_published_figures(data: ClickData) -> None:
    assert digests_of(data) == DIGESTS


def test_tables_are_indexed_by_published_id(data: ClickData) -> None:
    items = data.interactions.items
    assert data.interactions.titles[1] == "Toy Story (1995)"
    genres = data.schema["genres"].values
    assert genres is not None
    assert [genres[number] for number in items["genres"][1]] == ["Animation", "Children's", "Comedy"]
    assert (len(items), data.schema["genres"].cardinality, len(genres)) == (1683, 20, 20)
    lengths = items["genres"].list.len().to_numpy()
    assert (lengths[0], lengths[1:].min(), lengths.max()) == (0, 1, data.schema["genres"].width)


def test_a_profile_is_bucketed_and_named_by_the_schema(data: ClickData) -> None:
    layout = data.profile.layout
    assert [field.name for field in layout.fields] == ["age_group", "gender", "occupation", "zip_region"]
    rows = data.profile.users.ids
    assert rows.shape == (944, 4)
    # User 1 is 24, a technician from 85711.
    names = [field.values for field in layout.fields]
    first = [values[number] for values, number in zip(names, rows[1], strict=True) if values]
    assert first == ["18-24", "M", "technician", "8"]
    assert [len(values) for values in names if values] == list(layout.sizes) == [8, 3, 22, 12]
    assert (rows[0] == 0).all()
    assert (rows[1:] > 0).all()


def test_features_are_whole_values_and_named_by_the_schema(data: ClickData) -> None:
    fields = data.features.layout.fields
    names = ["user_id", "age", "gender", "occupation", "zip_code", "item_id", "release_year", "genre_set"]
    assert [field.name for field in fields] == names
    first = [*data.features.users.ids[1], *data.features.items.ids[1]]
    named = [field.values[number] for field, number in zip(fields, first, strict=True) if field.values]
    assert named == ["24", "M", "technician", "85711", "1995", "Animation|Children's|Comedy"]
    assert first[0] == first[5] == 1
    for table, part in ((data.features.users.ids, fields[:5]), (data.features.items.ids, fields[5:])):
        assert (table.max(axis=0) < [field.cardinality for field in part]).all()
        assert not table[0].any()


def test_the_schema_bounds_what_batches_hold(data: ClickData) -> None:
    batch = data.test.batch(np.arange(2000))
    assert data.schema["user_id"].cardinality == 944
    assert int(batch.item.max()) < (data.schema["item_id"].cardinality or 0) == 1683
    assert batch.history_items.shape[1] == 64
    assert int(batch.history_values.max()) < (data.schema["rating"].cardinality or 0) == 6


def test_three_quarters_of_the_ratings_share_their_second(data: ClickData) -> None:
    events = data.interactions.events
    assert 0.7 < events.select("user", "time").is_duplicated().sum() / len(events) < 0.8


def test_objectives_are_a_set_of_their_own_with_the_same_events_and_clicks() -> None:
    plain = at_hand("ml-100k")
    found = read("ml-100k-objectives")
    names = [field.name for field in found.schema.of("objective")]
    assert names == ["rated", "liked", "loved"]
    flags = found.events.select(names).to_numpy()
    assert flags.sum(axis=0).tolist() == [100_000, 55_375, 21_201]
    assert (flags[:, :-1] >= flags[:, 1:]).all(), "each within the one before"
    assert found.events.drop(names).equals(plain.events)
    assert not plain.schema.of("objective")
    assert [one for one in found.schema.fields if one.name not in names] == [*plain.schema.fields]
    digests = [digests_of(view(one, max_length=64)) for one in (plain, found)]
    assert digests == [DIGESTS, DIGESTS], "what the task click sees of both"
