"""Figures of a data set against a count by hand."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.training.data.folder.tables import NUM_EVENTS, NUM_ITEMS, NUM_USERS, START, Shop
from training.data.folder import folder
from training.data.overview import Overview, overview
from training.data.synthetic_sequences import synthetic_sequences
from training.interactions import silent


@pytest.fixture
def found(tmp_path: Path) -> Overview:
    shop = Shop()
    # A user and two items whom only the last events know, and one item that none knows.
    for row, (user, item) in enumerate([("u00100", 7), ("u00100", 8), ("u00001", 8)], NUM_EVENTS - 2):
        shop.put("events", "customer_id", row, user).put("events", "sku", row, item)
    shop.items = shop.items.vstack(shop.items[:1].with_columns(sku=pl.lit(9, pl.Int64)))
    return overview(folder(shop.write(tmp_path / "shop")).read(None, silent))


def test_users_items_and_time_are_counted(found: Overview) -> None:
    assert (found.events, found.users, found.items) == (NUM_EVENTS, NUM_USERS + 1, NUM_ITEMS + 3)
    assert (found.users_with_events, found.items_with_events) == (NUM_USERS + 1, NUM_ITEMS + 2)
    assert (found.first, found.last) == (START, START + 60 * (NUM_EVENTS - 1))


def test_users_of_whom_no_table_says_anything_are_counted_too() -> None:
    made = synthetic_sequences()
    assert overview(replace(made, users=pl.DataFrame())).users == overview(made).users_with_events == 200


def test_what_is_new_in_the_test_part_is_counted(found: Overview) -> None:
    events = Shop().events
    assert found.test is not None
    assert found.test.task == "click"
    assert found.test.events == NUM_EVENTS // 10
    assert found.test.cold_user_events == pytest.approx(2 / 24)
    assert found.test.cold_item_events == pytest.approx(3 / 24)
    users = {*events["customer_id"][216:237], "u00100", "u00001"}
    assert found.test.cold_users == pytest.approx(1 / len(users))
    assert found.test.positives == pytest.approx((events["stars"][216:] >= 4).mean())


def test_the_last_part_is_no_tasks_test_part_where_events_have_no_label(tmp_path: Path) -> None:
    shop = Shop().say('value = "stars"\npositive = ">= 4"\n', "")
    last = overview(folder(shop.write(tmp_path / "shop")).read(None, silent)).test
    assert last is not None
    assert (last.task, last.positives, last.events) == (None, None, NUM_EVENTS // 10)


def test_histories_and_missing_values_are_counted(found: Overview) -> None:
    assert found.histories["least"] == 2
    assert sum(found.histories[name] <= 40 for name in ("median", "most")) == 2
    missing = {field.name: field.missing for field in found.fields}
    assert missing["brand"] == pytest.approx(3 / (NUM_ITEMS + 3))
    assert missing["country"] == pytest.approx(1 / (NUM_USERS + 1))
    assert missing["price"] == pytest.approx(3 / (NUM_ITEMS + 3))
    assert missing["label"] is missing["user_id"] is None
