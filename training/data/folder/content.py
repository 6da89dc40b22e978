"""What the items of a folder say: sentence vectors of their texts, and vectors of their attributes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from training.data.content import GRAPH_WIDTH, Attributes, attribute_vectors
from training.data.sentence_vectors import WIDTH, sentence_vectors
from training.interactions import Content, Report
from training.schema import Field

_LARGEST = 2**27
"""Elements of the matrix of items and attributes, 512 MiB; the rarest attributes are left out beyond it."""


def content(items: pl.DataFrame, fields: Sequence[Field], cache: Path | None, report: Report) -> Content:
    """Row r of the item with dense id r; zeros where there is no text, or no attribute. Texts are the text fields in
    order, each text computed once; attributes are the values of the id and multi fields."""
    texts = items.select(
        pl.concat_str([pl.col(field.name) for field in fields if field.kind == "text"], separator=". ")
        .str.strip_chars(". ")
        .alias("text")
    )["text"]
    distinct = texts.filter(texts != "").unique(maintain_order=True)
    numbers = pl.DataFrame({"text": distinct, "number": pl.arange(1, len(distinct) + 1, eager=True)})
    place = pl.DataFrame({"text": texts}).join(numbers, on="text", how="left", maintain_order="left")["number"]
    vectors = sentence_vectors(distinct.to_list(), cache, report) if len(distinct) else np.zeros((1, WIDTH), np.float32)
    return Content(vectors[place.fill_null(0).to_numpy()], _attributes(items, fields))


def _attributes(items: pl.DataFrame, fields: Sequence[Field]) -> np.ndarray:
    """float32 [N + 1, 128]"""
    number = len(items) - 1
    held = [_held(items, field) for field in fields if field.kind in ("id", "multi")]
    pairs = pl.concat(held).unique(maintain_order=True) if held else pl.DataFrame()
    if not len(pairs):
        return np.zeros((number + 1, GRAPH_WIDTH), np.float32)
    counts = pairs.group_by("field", "value").len().filter(pl.col("len") > 1)
    kept = counts.sort("len", "field", "value", descending=[True, False, False]).head(_LARGEST // number)
    kept = kept.with_row_index("attribute").select("attribute", "field", "value")
    joined = pairs.join(kept, on=["field", "value"], maintain_order="left")
    if not len(joined):
        return np.zeros((number + 1, GRAPH_WIDTH), np.float32)
    attributes = Attributes(joined["item"].to_numpy(), joined["attribute"].cast(pl.Int64).to_numpy())
    return attribute_vectors(attributes, number)


def _held(items: pl.DataFrame, field: Field) -> pl.DataFrame:
    frame = pl.DataFrame({"item": pl.arange(len(items), eager=True), "value": items[field.name]})
    if field.kind == "multi":
        frame = frame.explode("value", empty_as_null=False)
    return frame.filter(pl.col("value") > 0).select("item", "value", field=pl.lit(field.name))
