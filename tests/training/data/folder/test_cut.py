"""A folder that is read until a day: nothing is known of what came later, neither ids, nor values, nor borders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.data.folder.tables import NUM_EVENTS, NUM_ITEMS, SKUS, START, Shop
from training.data.folder import folder
from training.interactions import Interactions, silent

DAY = "2023-11-15"
FIRST_OF_DAY = 1_700_006_400
EARLIER = (FIRST_OF_DAY - START + 59) // 60


def until(path: Path, day: str = DAY) -> Interactions:
    read = folder(path).read_until
    assert read is not None
    return read(None, silent, day)


def later(shop: Shop, *columns: pl.Series) -> Shop:
    """Other values in the events of the day and after it."""
    shop.events = pl.concat([shop.events[:EARLIER], shop.events[EARLIER:].with_columns(*columns)])
    return shop


def test_a_folder_is_read_as_if_later_events_had_never_been_written(tmp_path: Path) -> None:
    rest = NUM_EVENTS - EARLIER
    news = later(
        Shop(),
        pl.Series("stars", np.arange(rest) % 5 + 6),
        pl.Series("page", ["attic"] * rest),
        pl.Series("device", ["watch"] * rest),
    )
    news.events = news.events.with_columns(
        customer_id=pl.when(pl.int_range(pl.len()) == NUM_EVENTS - 1)
        .then(pl.lit("zoe"))
        .otherwise(pl.col("customer_id"))
    )
    shop = Shop()
    shop.events = shop.events[:EARLIER]
    before = folder(shop.write(tmp_path / "then")).read(None, silent)
    found = until(news.write(tmp_path / "now"))
    assert found.schema == before.schema
    assert found.events.equals(before.events)
    assert (found.ids["user"].digest, found.users.height) == (before.ids["user"].digest, before.users.height)
    assert max(found.events["time"]) < FIRST_OF_DAY


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_users_and_items_of_later_events_alone_are_not_known_and_those_of_none_are(tmp_path: Path, ending: str) -> None:
    shop = Shop(ending=ending)
    early = shop.events["sku"][:EARLIER]
    shop.events = shop.events.with_columns(
        sku=pl.Series([*early.replace(SKUS[0], SKUS[1]), *shop.events["sku"][EARLIER:]])
    )
    shop.events = shop.events.filter(pl.col("sku") != SKUS[2])
    shop.put("items", "brand", 1, "new brand")
    found = until(shop.write(tmp_path / "shop"))
    assert SKUS[0] not in found.ids["item"].ids
    assert SKUS[2] in found.ids["item"].ids
    assert len(found.items) == NUM_ITEMS
    assert "new brand" not in (found.schema["brand"].values or ())


def test_borders_of_buckets_are_those_of_earlier_values(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shop = Shop()
    shop.events = shop.events.with_columns(stars=pl.Series(random.normal(4.0, 1.0, NUM_EVENTS)))
    changed = later(Shop(events=shop.events), pl.Series("stars", random.normal(90.0, 9.0, NUM_EVENTS - EARLIER)))
    one, other = (until(each.write(tmp_path / name)) for name, each in (("a", shop), ("b", changed)))
    assert one.schema["stars"].values == other.schema["stars"].values
    assert one.events["value"].to_list() == other.events["value"].to_list()


@pytest.mark.parametrize(
    ("change", "day", "said"),
    [
        (
            lambda shop: shop,
            "2023-01-01",
            "events.parquet, column 'at': has no event before 2023-01-01; name a later day",
        ),
        (lambda shop: shop, "soon", "--until soon is no day; write YYYY-MM-DD"),
        (lambda shop: shop.say('time = "at"\n', ""), DAY, r"\[events\] names no time to cut at 2023-11-15; add time"),
        (
            lambda shop: shop.put("events", "page", 3, None),
            DAY,
            "events.parquet before 2023-11-15, column 'page', row 3: is empty",
        ),
        (
            lambda shop: Shop(items=shop.items.with_columns(sku=pl.Series([[one] for one in SKUS]))),
            DAY,
            "items.parquet before 2023-11-15, column 'sku'.*: holds List",
        ),
    ],
)
def test_what_cannot_be_cut_is_told_with_its_place(
    tmp_path: Path, change: Callable[[Shop], Shop], day: str, said: str
) -> None:
    path = change(Shop()).write(tmp_path / "shop")
    with pytest.raises(ValueError, match=said):
        until(path, day)
