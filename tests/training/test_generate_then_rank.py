"""A generator and a ranker are joined only where both number the same items alike."""

from dataclasses import replace

import pytest

from training.generate_then_rank import refuse_other_items
from training.schema import Field, Schema

ITEM = Field(name="item_id", kind="id", cardinality=3, values=("unknown", "Alien (1979)", "Heat (1995)"))


def schema(dataset: str, item: Field) -> Schema:
    return Schema(dataset=dataset, fields=(Field(name="user_id", kind="id", cardinality=9), item))


def test_the_same_items_of_another_data_set_are_taken() -> None:
    refuse_other_items(schema("ml-100k-sequences", ITEM), schema("ml-100k", replace(ITEM, side="item")))


@pytest.mark.parametrize(
    "other", [replace(ITEM, cardinality=4), replace(ITEM, values=("unknown", "Heat (1995)", "Alien (1979)"))]
)
def test_other_items_are_refused_with_both_data_sets_named(other: Field) -> None:
    with pytest.raises(ValueError, match=r"different items: the 3 ids of beauty are not the \d of ml-100k; train both"):
        refuse_other_items(schema("beauty", ITEM), schema("ml-100k", other))


def test_items_without_names_are_only_those_of_the_same_data_set() -> None:
    nameless = replace(ITEM, values=None)
    refuse_other_items(schema("hin-amazon", nameless), schema("hin-amazon", nameless))
    with pytest.raises(ValueError, match="the 3 ids of beauty are not the 3 of hin-amazon"):
        refuse_other_items(schema("beauty", nameless), schema("hin-amazon", nameless))
