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

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from training.data.amazon_sequences_files import LETTER_LEVELS
from training.data.content import Attributes, attribute_vectors, categories
from training.data.fetch import Report, fetch, silent
from training.data.sentence_vectors import sentence_vectors
from training.data.sequences import Content, SequenceData, leave_one_out

AmazonName = Literal["beauty", "sports"]


def load(name: AmazonName, max_length: int = 50, cache: Path | None = None, report: Report = silent) -> SequenceData:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch(name, cache, report)
    chosen, items = (pl.read_parquet(folder / f"{table}.parquet") for table in ("sequences", "items"))
    by_user = chosen.group_by("user", maintain_order=True).agg("item").sort("user")
    titles = {item: words or asin for item, asin, words in items.select("item", "asin", "keywords").iter_rows()}
    held = _attributes(items)

    def content() -> Content:
        text = sentence_vectors([titles[item] for item in range(1, len(titles) + 1)], cache, report)
        return Content(text, attribute_vectors(held, len(titles)))

    return leave_one_out(
        dataset=name,
        user_ids=by_user["user"].to_numpy(),
        sequences=[items.to_numpy() for items in by_user["item"]],
        categories=categories(held, len(titles)),
        titles=titles,
        max_length=max_length,
        load_content=content,
    )


def letter_codes(cache: Path | None = None, report: Report = silent) -> Int64[np.ndarray, "12102 4"]:
    """LETTER's semantic ids of Beauty: four levels of 0 to 255, row 0 zeros. 13 items share theirs with another."""
    table = pl.read_parquet(fetch("beauty", cache, report) / "letter.parquet")
    codes = np.zeros((len(table) + 1, len(LETTER_LEVELS)), np.int64)
    codes[table["item"].to_numpy()] = table.select(LETTER_LEVELS).to_numpy()
    return codes


def letter_products(cache: Path | None = None, report: Report = silent) -> dict[str, Tensor]:
    """`letter_codes` in the form of a tokenizer's products: codes int64 and weights float32 (ones), [N + 1, 4]."""
    codes = torch.from_numpy(letter_codes(cache, report))
    return {"codes": codes, "weights": torch.ones(codes.shape)}


def _attributes(items: pl.DataFrame) -> Attributes:
    pairs = items.select("item", "attributes").explode("attributes").drop_nulls()
    return Attributes(pairs["item"].to_numpy(), pairs["attributes"].to_numpy())
