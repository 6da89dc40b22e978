"""Fields of users and items in words."""

import numpy as np
import polars as pl
import pytest

from training.asking import fields_of, leading, profiles
from training.interactions import Interactions
from training.schema import Field, Schema
from training.servable import NO_SCORE


def shop(*fields: Field) -> Interactions:
    """Two items of which the second has no price and is in no genre."""
    columns = {"price": [0.0, 2.5, float("nan")], "genres": [[], [1, 2], []], "brand": [0, 1, 0]}
    items = pl.DataFrame({field.name: columns[field.name] for field in fields} or {"row": [0, 1, 2]})
    key = Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=3)
    schema = Schema(dataset="shop", fields=(key, *fields))
    nobody = pl.DataFrame({"row": [0]})
    return Interactions(schema=schema, events=nobody, users=nobody, items=items, licence="none")


ALL = (
    Field(name="price", role="item", kind="dense"),
    Field(name="genres", role="item", kind="multi", cardinality=3, width=2, values=("unknown", "x", "y")),
    Field(name="brand", role="item", kind="id", cardinality=2),
)


def test_a_value_that_is_not_there_is_called_missing_and_an_unknown_item_unknown() -> None:
    assert fields_of(shop(*ALL), "item", 1) == "price=2.5, genres=x|y, brand=1"
    assert fields_of(shop(*ALL), "item", 2) == "price=missing, genres=none, brand=0"
    assert fields_of(shop(*ALL), "item", 0) == "not known to shop"


def test_a_table_of_fields_names_the_data_set_and_unknown_items() -> None:
    shown = profiles(shop(*ALL), None, ["2", "9"])
    assert (shown.title, shown.lines) == ("what shop has of the items", ())
    assert shown.rows == [[1, "price=missing, genres=none, brand=0"], [2, "not known to shop"]]


def test_without_fields_a_line_says_so_and_there_is_no_table() -> None:
    shown = profiles(shop(), None, ["1"])
    assert shown.lines == ("shop has no fields of the items",)
    assert (shown.columns, shown.rows) == ((), [])
    assert fields_of(shop(), "item", 1) == "no fields in shop"


def test_reasons_are_asked_of_the_candidates_that_are_listed_and_of_no_others() -> None:
    request = {"user_id": np.array([[3]]), "candidates": np.array([[5, 9, 17, 2]])}
    answer = {"scores": np.array([[0.1, 0.7, 0.3, 0.7]])}
    asked, told = leading(request, answer, 2)
    assert asked["candidates"].tolist() == [[9, 2]]
    assert asked["user_id"] is request["user_id"]
    assert told["scores"].tolist() == [[0.7, 0.7]]
    plain = {"history": np.array([[5]])}, {"probabilities": np.array([[0.7, 0.3]])}
    assert leading(*plain, 1) == plain


def test_of_a_list_only_what_is_shown_is_explained() -> None:
    answer = {
        "items": np.array([[7, 8, 9, 0]]),
        "scores": np.array([[0.2, 0.9, 0.4, NO_SCORE]], np.float32),
        "paths": np.arange(4)[None],
    }
    request = {"history": np.array([[1]])}
    asked, told = leading(request, answer, 2)
    assert asked == request
    assert told["scores"].tolist() == [[NO_SCORE, pytest.approx(0.9), pytest.approx(0.4), NO_SCORE]]
    assert told["items"] is answer["items"]
    assert told["paths"] is answer["paths"]
    assert answer["scores"][0, 0] > 0, "the answer itself stays"
    assert leading(request, answer, 9)[1]["scores"].tolist() == answer["scores"].tolist()
