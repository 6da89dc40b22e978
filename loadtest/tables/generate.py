"""A folder of own tables as large as asked for: string and 62-bit ids, popular items, two months of events."""

from pathlib import Path

import numpy as np
import polars as pl

_STRIDE = 2**61 // 1_000_003
"""Between the numbers of items, so that they need 62 bits."""
_SECONDS = 60 * 86_400
_START = 1_700_000_000
_SCHEMA = """\
name = "generated"
licence = "generated here"

[events]
user = "customer_id"
item = "sku"
time = "at"
label = "purchased"
scenario = "page"

[items.fields]
price = "dense"
brand = "id"
tags = "multi"

[users.fields]
country = "id"
"""


def generate(folder: Path, events: int, users: int, items: int, ending: str) -> None:
    """Writes events, items, users and schema.toml; `ending` is .parquet or .csv. Users are named u0000001 and so on."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    names = pl.Series([f"u{number:07d}" for number in range(users)])
    numbers = pl.Series(np.arange(1, items + 1) * _STRIDE)
    # A product of two uniform numbers: some are met a hundred times as often as others.
    popular = (items * random.random(events) * random.random(events)).astype(np.int64)
    at = _START * 1000 + np.sort(random.integers(0, _SECONDS * 1000, events))
    table = pl.DataFrame(
        {
            "customer_id": names.gather(pl.Series(random.integers(0, users, events))),
            "sku": numbers.gather(pl.Series(popular)),
            "at": at,
            "purchased": random.random(events) < 0.2,
            "page": pl.Series(["home", "search", "cart"]).gather(pl.Series(random.integers(0, 3, events))),
        }
    )
    _write(table.cast({"purchased": pl.Int8}), folder / f"events{ending}")
    tags = pl.Series([f"t{one}|t{two}" for one, two in random.integers(0, 500, (items, 2))])
    brands = pl.Series([f"b{one}" for one in random.integers(0, 2000, items)])
    prices = np.round(random.lognormal(3, 1, items), 2)
    _write(pl.DataFrame({"sku": numbers, "price": prices, "brand": brands, "tags": tags}), folder / f"items{ending}")
    countries = pl.Series([f"c{one}" for one in random.integers(0, 100, users)])
    _write(pl.DataFrame({"customer_id": names, "country": countries}), folder / f"users{ending}")
    (folder / "schema.toml").write_text(_SCHEMA)


def _write(table: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path)
