"""Numbers that no int64 holds, and fractions in lists, are told with the row and never taken for something else."""

from pathlib import Path

import polars as pl
import pytest

from tests.training.data.folder.broken import Change, column
from tests.training.data.folder.tables import Shop
from training.data.folder.build import inspect
from training.interactions import silent

CASES: dict[str, tuple[Change, str]] = {
    "categories beyond int64": (
        lambda shop: column(shop, "items", pl.lit(2**63, dtype=pl.UInt64).alias("brand")),
        "items.parquet, column 'brand', row 1: is 9223372036854775808, no whole number of 64 bits with a sign (15 such "
        'rows); write whole numbers or text, or make it kind "dense"',
    ),
    "fractions in a list": (
        lambda shop: column(shop, "items", pl.concat_list(pl.lit(2.0), pl.col("price").fill_null(4.0)).alias("tags")),
        "items.parquet, column 'tags', row 2: is 1.5, no whole number (7 such values); write whole numbers or text, or "
        'make it kind "dense"',
    ),
    "ids of 128 bits": (
        lambda shop: column(shop, "events", pl.col("sku").cast(pl.Int128) * 2**40),
        "events.parquet, column 'sku', row 1: is 3169126500570573536727106846720, beyond int64 (240 such rows); write "
        "the ids as text",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_number_that_does_not_fit_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    change, line = CASES[name]
    shop = Shop()
    change(shop)
    found = inspect(shop.write(tmp_path / "shop"), None, silent)
    assert [str(one) for one in found.problems.errors] == [line]
