"""What is unknown, rare or popular takes the row that is meant for it."""

import pytest
import torch

from training.layers.items import (
    MIN_TRAIN_COUNT,
    NUM_POPULARITY_BUCKETS,
    BehaviourTable,
    ItemTable,
    ProfileEmbedding,
    known,
    popularity_bucket,
)

UNSEEN, RARE, KNOWN = 1, 2, 3
"""Items of `table`; 0 is out of vocabulary."""
COUNTS = torch.tensor([0, 0, MIN_TRAIN_COUNT - 1, MIN_TRAIN_COUNT])
GENRES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.fixture
def table() -> ItemTable:
    torch.manual_seed(0)
    made = ItemTable(4, 2, 3)
    made.prepare(COUNTS, GENRES)
    return made


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
    expected = table.rows.weight[0] + table.popularity.weight[2] + table.genre.weight[:, 1]
    torch.testing.assert_close(table()[RARE], expected)
    torch.testing.assert_close(
        table()[UNSEEN], table.rows.weight[0] + table.popularity.weight[0] + table.genre.weight[:, 0]
    )


def test_a_known_item_has_its_row_and_the_mean_of_its_genres(table: ItemTable) -> None:
    expected = table.rows.weight[KNOWN] + table.popularity.weight[2] + table.genre.weight.mean(dim=1)
    torch.testing.assert_close(table()[KNOWN], expected)


def test_the_vocabulary_travels_with_the_weights(table: ItemTable) -> None:
    other = ItemTable(4, 2, 3)
    other.load_state_dict(table.state_dict())
    assert torch.equal(other(), table())


def test_an_event_is_looked_up_by_item_and_rating_and_an_unknown_one_as_0() -> None:
    table = BehaviourTable(6, 3)
    items = torch.randn(4, 3)
    events = table(items)
    assert events.shape == (24, 3)
    rows = table.index(torch.tensor([3, 4, 3]), torch.tensor([5, 5, 9]), num_items=4)
    assert rows.tolist() == [3 * 6 + 5, 5, 3 * 6]
    torch.testing.assert_close(events[23], torch.nn.functional.silu(table.mix(items[3] + table.rating.weight[5])))


def test_a_profile_is_the_sum_of_its_fields_and_an_unknown_value_takes_row_0_of_its_own_field() -> None:
    profile = ProfileEmbedding((3, 4), 5)
    rows = profile.rows.weight
    fields = torch.tensor([[2, 3], [3, 1], [-1, 4], [0, 0]])
    expected = torch.stack([rows[2] + rows[6], rows[0] + rows[4], rows[0] + rows[3], rows[0] + rows[3]])
    torch.testing.assert_close(profile(fields), expected)
