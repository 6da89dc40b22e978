"""Rows of categorical fields: their columns, parts and bounds."""

from dataclasses import replace

import numpy as np
import pytest
from training.data.fields import FieldData, UserSide, encode, num_user_fields, shuffled, split_fields
from training.data.synthetic import planted_fields

from training import schema
from training.schema import Field, Schema


@pytest.fixture(scope="module")
def data() -> FieldData:
    return planted_fields()


def test_the_users_fields_stand_before_the_items(data: FieldData) -> None:
    assert data.field_names == ("user_id", "group", "item_id", "brand", "category")
    assert data.num_user_fields == 2
    batch = data.train.batch(np.array([3, 1]))
    assert batch.ids.shape == (2, 5)
    assert batch.user.tolist() == batch.ids[:, 0].tolist()
    for row in batch.ids.numpy():
        assert row[:2].tolist() == data.user_rows[data.user_ids == row[0]][0].tolist()
        assert row[2:].tolist() == data.item_rows[row[2]].tolist()


def test_the_parts_follow_each_other_in_time(data: FieldData) -> None:
    assert data.train.timestamp.max() < data.validation.timestamp.min()
    assert data.validation.timestamp.max() < data.test.timestamp.min()
    assert len(data.train) + len(data.validation) + len(data.test) == len(data.events) == 64 * 32
    assert abs(len(data.train) - 0.8 * len(data.events)) <= 1


def test_random_parts_hold_the_same_samples_and_follow_from_the_seed(data: FieldData) -> None:
    one, again, other = shuffled(data, 0), shuffled(data, 0), shuffled(data, 1)
    parts = (one.train, one.validation, one.test)
    assert np.array_equal(np.sort(np.concatenate([part.places for part in parts])), np.arange(len(data.events)))
    assert [len(part) for part in parts] == [1638, 205, 205]
    assert np.array_equal(one.train.ids, again.train.ids)
    assert not np.array_equal(one.train.ids, other.train.ids)
    assert np.array_equal(one.test.ids[:, 0], data.events.user[one.test.places])
    assert one.train.timestamp.max() > one.test.timestamp.min(), "random parts look ahead"


def test_what_a_user_saw_and_liked_comes_from_the_events(data: FieldData) -> None:
    of_user = data.events.of(7)
    assert data.seen(7) == set(data.events.item[of_user].tolist())
    last_liked = [item for item, rating in zip(data.events.item, data.events.rating, strict=True)][of_user][::-1]
    ratings = data.events.rating[of_user][::-1]
    assert data.liked(7, 3) == [item for item, rating in zip(last_liked, ratings, strict=True) if rating >= 4][:3]
    assert data.seen(10**6) == set()


def test_categories_are_numbered_from_one_and_nothing_is_unknown() -> None:
    ids, names = encode(["b", None, "a", "b"])
    assert ids.tolist() == [2, 0, 1, 2]
    assert names == ("unknown", "a", "b")


def test_a_side_survives_json_and_a_wrong_order_is_refused(data: FieldData) -> None:
    assert schema.from_json(schema.to_json(data.schema)) == data.schema
    with pytest.raises(ValueError, match="the user's fields must come first"):
        num_user_fields(replace(data.schema, fields=data.schema.fields[::-1]))


def test_ids_beyond_the_schema_are_refused_and_named(data: FieldData) -> None:
    users = UserSide(at_event=np.tile([[1, 9]], (len(data.events), 1)), now=data.user_rows)
    with pytest.raises(ValueError, match="field 'group' has ids 9 to 9, outside 0 to 3"):
        split_fields(data.schema, data.events, users, data.item_rows, {})
    loose = Schema(dataset="loose", fields=(Field(name="vector", kind="vector", width=3, side="item"),))
    with pytest.raises(ValueError, match=r"fields \['vector'\] are not ids with a cardinality"):
        split_fields(loose, data.events, users, data.item_rows, {})
