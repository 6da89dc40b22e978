"""Amazon Beauty, and Sports and Outdoors: what people reviewed, in order of time, 1996 to 2014, as S3-Rec published it.

22,363 users of 12,101 beauty products with 198,502 reviews; 35,598 of 18,357 with 296,337. Everyone has at least 5
items, every item at least 5 users. Ids are the published ones, from 1; 0 is "unknown".

Protocol: leave one out (`training.data.sequences`). A review's time is a day, and many people write all of theirs in
one: within a day the published order holds.

- Text: the three to seven keywords that IDGenRec's model drew from title, brand and categories; the real titles are not
  part of the published set. The one product without any has its product code.
- Second modality and categories: the published attributes (categories and brand as numbers without names), see
  `training.data.content`.
- LETTER's semantic ids of the same Beauty, to compare tokenizers with.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Int64

from training.data.amazon_sequences_files import LETTER_LEVELS
from training.data.content import Attributes, attribute_vectors, categories
from training.data.fetch import ORIGINS, fetch
from training.data.sentence_vectors import sentence_vectors
from training.interactions import Content, Dataset, Interactions, Report, silent
from training.schema import UNKNOWN, Field, Schema

AmazonName = Literal["beauty", "sports"]


def read(name: AmazonName, cache: Path | None = None, report: Report = silent) -> Interactions:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch(name, cache, report)
    chosen, items = (pl.read_parquet(folder / f"{table}.parquet") for table in ("sequences", "items"))
    items = items.sort("item")
    titles = [words or asin for asin, words in items.select("asin", "keywords").iter_rows()]
    held = _attributes(items)
    category = categories(held, len(titles))

    def content() -> Content:
        return Content(sentence_vectors(titles, cache, report), attribute_vectors(held, len(titles)))

    named = (UNKNOWN, *titles)
    return Interactions(
        schema=Schema(
            dataset=name,
            fields=(
                Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=_largest(chosen["user"]) + 1),
                Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=len(named), values=named),
                Field(name="category", role="item", kind="id", uses=("category",), cardinality=int(category.max()) + 1),
                Field(name="order", role="event", kind="dense", uses=("order",)),
            ),
        ),
        events=chosen.select("user", "item", order=pl.int_range(pl.len()).over("user")),
        users=pl.DataFrame(),
        items=pl.DataFrame({"title": named, "category": category}),
        licence=ORIGINS[name].licence,
        load_content=content,
        others={"letter": letter_codes(cache, report)} if (folder / "letter.parquet").is_file() else {},
    )


def letter_codes(cache: Path | None = None, report: Report = silent) -> Int64[np.ndarray, "12102 4"]:
    """LETTER's semantic ids of Beauty: four levels of 0 to 255, row 0 zeros. 13 items share theirs with another."""
    table = pl.read_parquet(fetch("beauty", cache, report) / "letter.parquet")
    codes = np.zeros((len(table) + 1, len(LETTER_LEVELS)), np.int64)
    codes[table["item"].to_numpy()] = table.select(LETTER_LEVELS).to_numpy()
    return codes


def _attributes(items: pl.DataFrame) -> Attributes:
    pairs = items.select("item", "attributes").explode("attributes").drop_nulls()
    return Attributes(pairs["item"].to_numpy(), pairs["attributes"].to_numpy())


def _largest(ids: pl.Series) -> int:
    return int(ids.to_numpy().max())


def _dataset(name: AmazonName) -> Dataset:
    origin = ORIGINS[name]
    return Dataset(name=name, what=origin.what, licence=origin.licence, read=partial(read, name))


DATASETS = (_dataset("beauty"), _dataset("sports"))
