"""What a client calls the fields of a moment."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.click_views import everything, view
from training.layers.click_context import context_specs, map_of, nothing
from training.schema import LARGEST, UNKNOWN, Field


def field(*names: str) -> Field:
    return Field(name="page", role="event", kind="id", cardinality=len(names) + 1, values=(UNKNOWN, *names))


@pytest.mark.parametrize(
    ("names", "kind", "missing"),
    [
        (("cart", "home"), "string", ""),
        (("0", "1", "23"), "int64", -1),
        (("-7", "-1", str(2**63 - 1)), "int64", 0),
        (("01", "1"), "string", ""),
        (("1", "10", "9"), "string", ""),
        ((str(2**63), "9" * 19), "string", ""),
        (("7", "seven"), "string", ""),
    ],
)
def test_names_are_sent_as_whole_numbers_where_all_of_them_are_and_else_as_text(
    names: tuple[str, ...], kind: str, missing: int | str
) -> None:
    ids = map_of(field(*names))
    assert ids is not None
    assert ids.kind == kind
    asked = [*names, "nowhere"] if kind == "string" else [*map(int, names), 42]
    assert ids.dense(np.array(asked, ids.ids.dtype)).tolist() == [*range(1, len(names) + 1), 0]
    assert nothing(field(*names)) == missing
    assert ids.dense(np.array([missing], ids.ids.dtype)).tolist() == [0]


@pytest.mark.parametrize("names", [("home", "cart"), ("shop", "feed", "shop"), ("", "home"), ()])
def test_ids_are_sent_themselves_where_their_names_have_no_order(names: tuple[str, ...]) -> None:
    assert map_of(field(*names)) is None
    assert nothing(field(*names)) == 0


def test_ids_that_are_their_own_names_need_no_map() -> None:
    ids = map_of(field("1", "2", "3"))
    assert ids is not None
    assert ids.is_identity


def test_numbers_have_no_names_and_are_missing_as_nan() -> None:
    hour = replace(field(), kind="dense", values=None, cardinality=None)
    assert map_of(hour) is None
    assert np.isnan(nothing(hour))


def test_a_request_asks_for_each_field_in_its_own_way() -> None:
    data = view(everything())
    assert [(one.name, one.client_dtype) for one in context_specs(data)] == [
        ("channel", "int64"),
        ("hour", "float32"),
        ("words", "int64"),
    ]
    bounds = [(one.minimum, one.maximum, one.missing) for one in context_specs(data)]
    assert bounds == [(None, None, False), (-LARGEST, LARGEST, True), (None, None, False)]
    assert [one.mapped for one in context_specs(data)] == [None, None, None], "shop comes before feed"
