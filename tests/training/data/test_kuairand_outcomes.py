"""What came of an impression is no input of it, of the fields that KuaiRand has."""

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.click_views import view
from training.data import kuairand
from training.data.click import AGES, FEATURES, HISTORY, WHO, ClickBatch, ClickData

READS = frozenset({FEATURES, HISTORY, AGES, WHO})
NUM_USERS, NUM_EVENTS = 6, 240
OUTCOMES = ("is_click", "long_view", "label")
PAIR = (1003, 5007)
"""A user and a video that are there twice."""


def impressions() -> pl.DataFrame:
    """The published columns; one row is there twice, and one pair at two times."""
    random = np.random.default_rng(0)
    columns = {name: random.integers(0, 2, NUM_EVENTS) for name in OUTCOMES}
    rows = pl.DataFrame(
        {
            "user_id": 1000 + random.integers(0, NUM_USERS, NUM_EVENTS),
            "video_id": 5000 + random.integers(0, 20, NUM_EVENTS),
            "time_ms": 1_650_000_000_000 + 1000 * np.arange(NUM_EVENTS),
            "duration_ms": 1000 * random.integers(0, 90, NUM_EVENTS),
            **columns,
        }
    )
    twice = (pl.col("time_ms") == rows["time_ms"][number] for number in (50, NUM_EVENTS - 5))
    repeats = pl.any_horizontal(*twice)
    user, video = (
        pl.when(repeats).then(value).otherwise(name).alias(name)
        for name, value in zip(("user_id", "video_id"), PAIR, strict=True)
    )
    return pl.concat([rows, rows[7:8]]).with_columns(user, video)


def seen(table: pl.DataFrame) -> ClickData:
    """The data set that is made of it."""
    return view(kuairand.made(table), READS, NUM_EVENTS)


def everything(data: ClickData) -> list[ClickBatch]:
    return [split.batch(np.arange(len(split))) for split in (data.train, data.validation, data.test)]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_came_of_an_impression_is_in_later_histories_and_nowhere_else(outcome: str) -> None:
    table = impressions()
    turned = table["time_ms"] == table["time_ms"][NUM_EVENTS - 20]
    other = table.with_columns(pl.when(turned).then(1 - pl.col(outcome)).otherwise(pl.col(outcome)).alias(outcome))
    # A long view is one of a click alone, so that all three have one.
    click = pl.lit(1) if outcome == "long_view" else pl.col("is_click")
    table, other = (
        one.with_columns(pl.when(turned).then(click).otherwise("is_click").alias("is_click")) for one in (table, other)
    )
    data = seen(table)
    pairs = zip(everything(data), everything(seen(other)), strict=True)
    changed = 0
    at = table["time_ms"][NUM_EVENTS - 20]
    for split, (one, another) in zip((data.train, data.validation, data.test), pairs, strict=True):
        for name, first, second in zip(ClickBatch._fields, one, another, strict=True):
            if name == "label":
                assert (first != second).numpy().tolist() == ((split.time == at) & (outcome == "is_click")).tolist()
            elif name == "history_values":
                rows = (first != second).any(dim=1).numpy()
                assert not rows[split.time <= at].any()
                changed += rows.sum()
            else:
                assert torch.equal(
                    first.nan_to_num() if first.is_floating_point() else first,
                    second.nan_to_num() if second.is_floating_point() else second,
                ), name
    assert changed > 0


def test_a_row_that_is_there_twice_counts_once_and_a_later_one_has_the_earlier_in_its_history() -> None:
    table = impressions()
    data = seen(table)
    assert len(data.log) == NUM_EVENTS == len(table) - 1
    user, video = (data.interactions.dense(side, raw) for side, raw in zip(("user", "item"), PAIR, strict=True))
    last = table["time_ms"][NUM_EVENTS - 5]
    batch = data.test.batch(np.flatnonzero(data.test.time == last))
    assert (batch.user.tolist(), batch.item.tolist()) == ([user], [video])
    earlier = table[:NUM_EVENTS].filter((pl.col("user_id") == PAIR[0]) & (pl.col("time_ms") < last)).reverse()
    assert PAIR[1] in earlier["video_id"].to_list()
    expected = [
        (
            data.interactions.dense("item", row["video_id"]),
            1 + 2 * row["is_click"] * (1 + row["long_view"]) + row["label"],
        )
        for row in earlier.iter_rows(named=True)
    ]
    assert [*zip(batch.history_items[0].tolist(), batch.history_values[0].tolist(), strict=True)] == expected
