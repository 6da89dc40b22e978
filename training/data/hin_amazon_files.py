"""Sources of the Amazon set: a folder, and its publisher.

In order: the folder `$RECSERVE_DATA/hin/amazon` with the published files, each as it is or with gzip; the publisher's
repository at a fixed commit.
"""

import io
import os
from pathlib import Path

import polars as pl

from training.data.origin import Found, Origin, Report, Tables, download, read, verify

REPOSITORY = "https://raw.githubusercontent.com/librahu/HIN-Datasets-for-Recommendation-and-Network-Embedding"
COMMIT = "cc05c484b628b08237f0a876fcebf99d736ccbea"
_NAME = "hin-amazon"
SHA256 = {
    "item_brand.dat": "65f4eaddff343a365ad474a6841bbaf541af1b2d96081c4adaeeeb8a7a8a313b",
    "item_category.dat": "17b9158f777fbb0b8b035a9b675c2f7d2e9f7ad81f34919d3e6db4289c9dc6bf",
    "item_view.dat": "42b1aec0a0eb9d71a265efb491dd951b523723637bb18f80f87c72d4fa6819da",
    "user_item.dat": "d14fcc5b04f0d701d326149bc4f18d471156f189ff1f4d0fefa14511c4cb42c8",
}


def _from_folder(report: Report) -> Found | None:
    root = os.environ.get("RECSERVE_DATA")
    folder = Path(root or "") / "hin" / "amazon"
    if not root or not folder.is_dir():
        return None
    contents = {name: read(folder / name) for name in SHA256}
    if missing := [name for name, content in contents.items() if content is None]:
        report(f"{_NAME}: {folder} lacks {', '.join(missing)} (.gz or not); trying the next source")
        return None
    return Found(str(folder), {name: verify(SHA256, name, content or b"") for name, content in contents.items()})


def _from_publisher(report: Report) -> Found | None:
    files = {}
    for name in SHA256:
        content = download(_NAME, f"{REPOSITORY}/{COMMIT}/Amazon/{name}", report)
        if content is None:
            return None
        files[name] = verify(SHA256, name, content)
    return Found(f"{REPOSITORY}/{COMMIT}/Amazon", files)


def _parse(files: dict[str, bytes]) -> Tables:
    """Ids as published, from 0. ratings: user, item, rating, timestamp (Unix seconds, whole days); the others: item and
    the id of its brand, category or view, in the order of the file."""
    columns = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Int8, "timestamp": pl.Int64}
    tables = {"ratings": _table(files["user_item.dat"], "\t", columns)}
    for name in ("brand", "category", "view"):
        tables[name] = _table(files[f"item_{name}.dat"], ",", {"item": pl.Int64, name: pl.Int64})
    return tables


def _table(content: bytes, separator: str, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(content), separator=separator, has_header=False, schema=schema)


ORIGIN = Origin(
    name=_NAME,
    what="Amazon: 195,791 ratings with brand, category and view",
    licence="The publisher's repository has no licence file: use it for research, and do not redistribute it.",
    sources=(_from_folder, _from_publisher),
    parse=_parse,
    rows={"ratings": 195_791, "brand": 2_753, "category": 5_508, "view": 5_694},
    remedy=f"connect to the internet, or put {', '.join(SHA256)} into $RECSERVE_DATA/hin/amazon",
)
