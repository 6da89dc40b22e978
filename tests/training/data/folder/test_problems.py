"""Each way in which a folder can be broken has one line, which names table, column, row, value and remedy."""

from pathlib import Path

import pytest

from tests.training.data.folder.broken import BROKEN, repeat
from tests.training.data.folder.tables import Shop
from training.data.folder.build import inspect
from training.interactions import silent


def errors(folder: Path) -> list[str]:
    return [str(one) for one in inspect(folder, None, silent).problems.errors]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    change, line = BROKEN[name]
    shop = Shop()
    change(shop)
    assert errors(shop.write(tmp_path / "shop")) == [line]


def test_all_problems_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    shop = Shop().put("events", "at", 2, None).put("items", "price", 6, float("inf")).put("users", "age", 1, None)
    repeat(shop, "users", 3)
    shop.say('objectives = ["seen", "bought"]', 'objectives = ["stars"]')
    assert [line.split(":")[0] for line in errors(shop.write(tmp_path / "shop"))] == [
        "events.parquet, column 'at', row 2",
        "events.parquet, column 'stars', row 1",
        "users.parquet, column 'customer_id', row 13",
        "items.parquet, column 'price', row 6",
    ]
