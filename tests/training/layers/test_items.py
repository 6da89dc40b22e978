"""What is unknown, rare or popular takes the row that is meant for it."""

import numpy as np
import pytest
import torch

from training.data.columns import Columns, Layout
from training.layers.columns import Features
from training.layers.items import (
    MIN_TRAIN_COUNT,
    NUM_POPULARITY_BUCKETS,
    BehaviourTable,
    IdEmbedding,
    ItemTable,
    ProfileEmbedding,
    known,
    popularity_bucket,
)
from training.schema import Field
from training.warm_start import Axis

UNSEEN, RARE, KNOWN = 1, 2, 3
"""Items of `table`; 0 is out of vocabulary."""
COUNTS = np.array([0, 0, MIN_TRAIN_COUNT - 1, MIN_TRAIN_COUNT])
GENRES = np.array([[0, 0], [1, 0], [2, 0], [2, 1]])
ITEM_ID = Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=4)
STARS = Field(name="stars", role="event", kind="id", uses=("value",), cardinality=6)
ONLY_GENRES = Layout((Field(name="genres", role="item", kind="multi", cardinality=3, width=2),))
WITH_OTHERS = Layout(
    (
        Field(name="kind", role="item", kind="id", cardinality=3),
        *ONLY_GENRES.fields,
        Field(name="price", role="item", kind="dense"),
    )
)
BOUGHT = np.array([2, 3, 3, 3])
"""Items of the training samples; the price of item 1 is missing."""


def made(layout: Layout = ONLY_GENRES) -> ItemTable:
    torch.manual_seed(0)
    built = ItemTable(ITEM_ID, layout, 3)
    there = (GENRES > 0).any(1).astype(np.int64)
    if layout is ONLY_GENRES:
        values = Columns(there[:, None], np.zeros((4, 0), np.float32), GENRES)
    else:
        price = np.array([[np.nan], [np.nan], [1.0], [5.0]], np.float32)
        ids = np.stack([[0, 2, 1, 7], there, [0, 0, 1, 1]], axis=1)
        values = Columns(ids, price, GENRES)
    built.prepare(COUNTS, values, BOUGHT)
    return built


@pytest.fixture
def table() -> ItemTable:
    return made()


def genre(table: ItemTable, *numbers: int) -> torch.Tensor:
    """Mean of these genres' vectors."""
    weight = table.get_parameter("set_means.0.vectors.weight")
    return torch.stack([weight[:, number - 1] for number in numbers]).mean(0)


def test_ids_outside_the_vocabulary_become_the_unknown_one() -> None:
    ids = torch.tensor([[-(2**62), -1, 0, 1], [3, 4, 5, 2**62]])
    assert known(ids, 4).tolist() == [[0, 0, 0, 1], [3, 0, 0, 0]]


def test_each_column_may_have_its_own_cardinality() -> None:
    assert known(torch.tensor([[1, 1], [2, 2]]), torch.tensor([2, 3])).tolist() == [[1, 1], [0, 2]]


@pytest.mark.parametrize(
    ("count", "bucket"), [(0, 0), (1, 1), (2, 1), (3, 2), (8, 2), (9, 3), (26, 3), (27, 4), (10**9, 7)]
)
def test_the_bucket_says_how_many_times_3_the_ratings_fill(count: int, bucket: int) -> None:
    assert popularity_bucket(torch.tensor([count])).tolist() == [bucket]


def test_buckets_never_fall_with_the_count() -> None:
    buckets = popularity_bucket(torch.arange(10_000))
    assert (buckets.diff() >= 0).all()
    assert buckets.max() == NUM_POPULARITY_BUCKETS - 1


def test_the_unknown_item_is_row_0_without_genres_in_the_lowest_bucket(table: ItemTable) -> None:
    torch.testing.assert_close(table()[0], table.rows.weight[0] + table.popularity.weight[0])


def test_a_rare_item_is_the_unknown_one_with_its_own_genres_and_popularity(table: ItemTable) -> None:
    expected = table.rows.weight[0] + table.popularity.weight[2] + genre(table, 2)
    torch.testing.assert_close(table()[RARE], expected)
    torch.testing.assert_close(table()[UNSEEN], table.rows.weight[0] + table.popularity.weight[0] + genre(table, 1))


def test_a_known_item_has_its_row_and_the_mean_of_its_genres(table: ItemTable) -> None:
    expected = table.rows.weight[KNOWN] + table.popularity.weight[2] + genre(table, 1, 2)
    torch.testing.assert_close(table()[KNOWN], expected)


def test_the_other_fields_of_a_profile_are_added_dense_ones_standardised_over_training() -> None:
    table, plain = made(WITH_OTHERS), made()
    assert table.profile is not None
    assert plain.profile is None
    assert table.profile.additions is not None
    profile = table.profile
    kinds, prices = profile.rows.weight[:3], profile.rows.weight[3:]
    direction = profile.get_parameter("additions.directions")[0]
    mean, deviation = 4.0, np.array([1.0, 5.0, 5.0, 5.0]).std()
    # No item that was bought is of kind 2 or without a price: kind 2 is as the unknown kind, which item 3 has, and no
    # price as the mean of what bought ones have.
    expected = [
        kinds[0] + prices[1],
        kinds[0] + prices[1] + genre(table, 1),
        kinds[1] + prices[1] + genre(table, 2) + (1 - mean) / deviation * direction,
        kinds[0] + prices[1] + genre(table, 1, 2) + (5 - mean) / deviation * direction,
    ]
    own = table.rows.table() + table.popularity(table.bucket_of)
    torch.testing.assert_close(table(), own + torch.stack(expected))


def test_the_vocabulary_travels_with_the_weights(table: ItemTable) -> None:
    other = ItemTable(ITEM_ID, ONLY_GENRES, 3)
    other.load_state_dict(table.state_dict())
    assert torch.equal(other(), table())


def test_an_event_is_looked_up_by_item_and_rating_and_an_unknown_one_as_0() -> None:
    table = BehaviourTable(STARS, 3)
    items = torch.randn(4, 3)
    events = table(items)
    assert events.shape == (24, 3)
    rows = table.index(torch.tensor([3, 4, 3]), torch.tensor([5, 5, 9]), num_items=4)
    assert rows.tolist() == [3 * 6 + 5, 5, 3 * 6]
    torch.testing.assert_close(events[23], torch.nn.functional.silu(table.mix(items[3] + table.rating.weight[5])))


def test_what_an_event_is_looked_up_as_is_what_its_item_and_value_make() -> None:
    table, items = BehaviourTable(STARS, 3), torch.randn(4, 3)
    asked = torch.tensor([[3, 0], [1, 2]]), torch.tensor([[5, 9], [-1, 1]])
    rows = table(items)[table.index(*asked, num_items=4)]
    torch.testing.assert_close(table.of(items[asked[0]], asked[1]), rows)


PROFILE = Layout(
    (Field(name="a", role="user", kind="id", cardinality=3), Field(name="b", role="event", kind="id", cardinality=4))
)


def of_ids(ids: torch.Tensor) -> Features:
    return Features(ids, torch.zeros(len(ids), 0), torch.zeros(len(ids), 0).long())


def test_a_profile_is_the_sum_of_its_fields_and_an_unknown_value_takes_row_0_of_its_own_field() -> None:
    profile = ProfileEmbedding(PROFILE, 5)
    rows = profile.rows.weight
    ids = torch.tensor([[2, 3], [3, 1], [-1, 4], [0, 0]])
    expected = torch.stack([rows[2] + rows[6], rows[0] + rows[4], rows[0] + rows[3], rows[0] + rows[3]])
    torch.testing.assert_close(profile(of_ids(ids)), expected)


def test_a_profile_of_no_fields_is_zero() -> None:
    assert ProfileEmbedding(Layout(()), 5)(of_ids(torch.zeros(3, 0).long())).tolist() == [[0.0] * 5] * 3


def test_what_training_never_met_is_the_unknown_or_where_it_never_met_that_the_mean() -> None:
    brand = Field(name="brand", role="item", kind="id", cardinality=4)
    table = IdEmbedding(Axis((brand, STARS)), 3, min_count=2)
    #                     brand: 0 and 1 are rare, 2 is met, 3 is not; stars: none is rare, 0 and 5 are not met
    table.prepare(np.array([1, 1, 6, 0, 0, 2, 2, 4, 8, 0]))
    brands, stars = table.weight.split([4, 6])
    mean = (2 * stars[1] + 2 * stars[2] + 4 * stars[3] + 8 * stars[4]) / 16
    expected = torch.stack([brands[0], brands[0], brands[2], brands[0], mean, *stars[1:5], mean])
    torch.testing.assert_close(table.table(), expected)
    found = table(torch.tensor([[2, 1], [3, 5], [-1, 2**40]]))
    torch.testing.assert_close(found, torch.stack([expected[[2, 5]], expected[[0, 9]], expected[[0, 4]]]))
    torch.testing.assert_close(table.at(torch.tensor([[9], [3]])), expected[[9, 3], None])
    other = IdEmbedding(Axis((brand, STARS)), 3, min_count=2)
    other.load_state_dict(table.state_dict())
    assert torch.equal(other.table(), table.table()), "what training met travels with the weights"


def test_before_training_is_known_each_id_has_its_row() -> None:
    table = IdEmbedding(Axis((STARS,)), 3)
    assert torch.equal(table.table(), table.weight)
