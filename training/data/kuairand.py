"""KuaiRand: impressions of short videos that were liked or hated, two weeks of April 2022 (Gao et al., CIKM 2022).

No sample of all impressions: somebody's selection of those with a like or a hate, among users and videos with 15 likes
or more (`training.data.kuairand_files`). 664 users, 9,359 videos; of the test part of a split by time about two in
three samples are of videos that training never saw.

- Event: one impression, label 1 where it was clicked. The 124 rows that are there twice count once. Time in
  milliseconds. The value is what came of it: not clicked, clicked or watched long, and liked or hated. Such outcomes
  are known of earlier impressions alone: histories have them, and nothing else that a model reads.
- Objectives, each within the one before: shown, clicked, and watched long after a click; 231 long views without a click
  serve the first alone.
- Items: `length`, the scenario, below 15 seconds (no length given among them), below a minute, or longer; and
  `duration`, the same in finer buckets, with one for no length given. So the scenario is made from a field of the item:
  it is no page of an app, and an item is in one of them only.
- Ids: those of the published log, mapped in their order; of users nothing else is known.
"""

from pathlib import Path

import numpy as np
import polars as pl

from training.data.fetch import ORIGINS, fetch
from training.data.ids import id_map
from training.interactions import Dataset, Interactions, Report
from training.schema import UNKNOWN, Field, Schema

LENGTHS = ("below 15 s", "15 to 60 s", "longer")
_LENGTH_BORDERS = (15, 60)
_DURATION_BORDERS = (7, 9, 12, 15, 20, 30, 45, 60, 120, 300)
"""Seconds."""
OUTCOMES = tuple(
    f"{came}, {felt}" for came in ("not clicked", "clicked", "watched long") for felt in ("hated", "liked")
)


def read(cache: Path | None, report: Report) -> Interactions:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch("kuairand", cache, report)
    return made(pl.read_parquet(folder / "impressions.parquet"))


def made(shown: pl.DataFrame) -> Interactions:
    """The set of published impressions, with the columns of the published file."""
    shown = shown.unique(["user_id", "video_id", "time_ms"], keep="first", maintain_order=True)
    users, videos = id_map(shown["user_id"]), id_map(shown["video_id"])
    long = pl.col("is_click") * pl.col("long_view")
    events = shown.select(
        user=pl.Series(users.dense(shown["user_id"].to_numpy())),
        item=pl.Series(videos.dense(shown["video_id"].to_numpy())),
        time="time_ms",
        value=1 + 2 * (pl.col("is_click") + long) + pl.col("label"),
        label=pl.col("is_click").cast(pl.Float32),
        shown=pl.lit(1.0, pl.Float32),
        clicked=pl.col("is_click").cast(pl.Float32),
        long_view=long.cast(pl.Float32),
    )
    seconds = shown.group_by("video_id").agg(pl.col("duration_ms").max()).sort("video_id")["duration_ms"] / 1000
    items, fields = _items(seconds.to_numpy())
    keys = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=len(users.ids) + 1, ids=users.digest),
        Field(name="video_id", role="item", kind="id", uses=("key",), cardinality=len(items), ids=videos.digest),
    )
    return Interactions(
        schema=Schema(dataset="kuairand", fields=(*keys, *fields, *_EVENT_FIELDS)),
        events=events,
        users=pl.DataFrame(height=len(users.ids) + 1),
        items=items,
        licence=ORIGINS["kuairand"].licence,
        ids={"user": users, "item": videos},
    )


def _items(seconds: np.ndarray) -> tuple[pl.DataFrame, tuple[Field, ...]]:
    """Rows by id after that of the unknown video, and the fields, of videos' lengths [I]; 0 where none is given."""
    borders = ("no length", *(f"below {border} s" for border in _DURATION_BORDERS), "longer")
    lengths = 1 + np.searchsorted(_LENGTH_BORDERS, seconds, side="right")
    durations = np.where(seconds > 0, 2 + np.searchsorted(_DURATION_BORDERS, seconds, side="right"), 1)
    frame = pl.DataFrame({"length": np.append(0, lengths), "duration": np.append(0, durations)})
    named = {"length": (UNKNOWN, *LENGTHS), "duration": (UNKNOWN, *borders)}
    return frame, (
        Field(
            name="length",
            role="item",
            kind="id",
            uses=("feature", "profile", "scenario"),
            cardinality=len(named["length"]),
            values=named["length"],
        ),
        Field(name="duration", role="item", kind="id", cardinality=len(named["duration"]), values=named["duration"]),
    )


_EVENT_FIELDS = (
    Field(name="time", role="event", kind="dense", uses=("time",)),
    Field(
        name="outcome",
        role="event",
        kind="id",
        uses=("value",),
        cardinality=len(OUTCOMES) + 1,
        values=(UNKNOWN, *OUTCOMES),
    ),
    Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    *(
        Field(name=name, role="event", kind="id", uses=("objective",), cardinality=2)
        for name in ("shown", "clicked", "long_view")
    ),
)


DATASET = Dataset(
    name="kuairand",
    what="KuaiRand: 41,704 impressions of 9,359 short videos, liked or hated, by 664 people",
    licence=ORIGINS["kuairand"].licence,
    read=read,
)
