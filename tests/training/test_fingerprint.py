"""A fingerprint is that of all values of a data set, and says in counts what is not as it was."""

import json
from dataclasses import asdict, replace

import polars as pl
import pytest

from training.data.planted_clicks import planted_clicks
from training.fingerprint import Fingerprint
from training.interactions import Interactions

FRAME = pl.DataFrame(
    {
        "user": [1, 2, 3],
        "label": pl.Series([0.0, 1.0, 0.0], dtype=pl.Float32),
        "tags": [[1, 2], [], [3]],
        "title": ["ab", "c", ""],
    }
)


def of(events: pl.DataFrame) -> Interactions:
    return replace(planted_clicks(), events=events)


def test_the_same_tables_have_the_same_fingerprint_also_after_json() -> None:
    one = Fingerprint.of(planted_clicks())
    assert Fingerprint.of(planted_clicks()) == one
    assert Fingerprint.from_json(json.loads(json.dumps(asdict(one)))) == one
    assert one.changes(one) == ""


@pytest.mark.parametrize(
    "change",
    [
        FRAME.with_columns(user=pl.Series([1, 2, 4])),
        FRAME.with_columns(label=pl.Series([0.0, 1.0, 1.0], dtype=pl.Float32)),
        FRAME.with_columns(label=pl.col("label").cast(pl.Float64)),
        FRAME.with_columns(tags=pl.Series([[1], [2], [3]])),
        FRAME.with_columns(title=pl.Series(["a", "bc", ""])),
        FRAME.rename({"user": "item"}),
        FRAME[::-1],
    ],
    ids=["a number", "a label", "a type", "a list", "a text", "a name", "the order"],
)
def test_any_other_value_is_seen_where_there_are_as_many(change: pl.DataFrame) -> None:
    before, now = Fingerprint.of(of(FRAME)), Fingerprint.of(of(change))
    assert before.changes(now) == "3 events, now as many with other values"


def test_more_or_fewer_are_told_in_counts() -> None:
    made = planted_clicks()
    now = replace(made, events=made.events[:-1], users=pl.concat([made.users, made.users[1:2]]))
    said = Fingerprint.of(made).changes(Fingerprint.of(now))
    assert said == f"{len(made.events):,} events, now {len(made.events) - 1:,}, 64 users, now 65"
