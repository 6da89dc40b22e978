"""`python docs/examples/clips_tables.py FOLDER`: impressions of short videos (KuaiRand) as own tables, in Parquet.

Ids are text (u00111, v3892024), the label is a click, clips have a length in seconds, and the scenario is how long they
are: shorter than 15 seconds, up to a minute, longer. What is known only after an impression is no field.
"""

import os
import sys
from pathlib import Path

import polars as pl

SCHEMA = """\
name = "clips"
licence = "CC BY-SA 4.0, KuaiRand (Gao et al., CIKM 2022, https://kuairand.com)"

[events]
user = "user"
item = "clip"
time = "time_ms"
label = "is_click"
scenario = "length"
objectives = ["is_click", "long_view", "is_like"]

[items.fields]
seconds = "dense"
"""


def main(folder: Path) -> None:
    """Writes events.parquet, items.parquet and schema.toml."""
    published = Path(os.environ["RECSERVE_DATA"]) / "kuairand_like_hate" / "interactions.tsv.gz"
    shown = pl.read_csv(published, separator="\t").with_columns(
        user=pl.format("u{}", pl.col("user_id").cast(pl.String).str.zfill(5)),
        clip=pl.format("v{}", pl.col("video_id")),
        seconds=pl.col("duration_ms") / 1000,
    )
    length = pl.when(pl.col("seconds") < 15).then(pl.lit("short"))
    length = length.when(pl.col("seconds") < 60).then(pl.lit("middle")).otherwise(pl.lit("long"))
    folder.mkdir(parents=True)
    events = shown.select("user", "clip", "time_ms", "is_click", "long_view", is_like="label", length=length)
    # The published log has 124 rows twice.
    events = events.unique(["user", "clip", "time_ms"], keep="first", maintain_order=True)
    events.write_parquet(folder / "events.parquet")
    known = pl.when(pl.col("seconds") > 0).then("seconds")
    shown.group_by("clip").agg(known.max().alias("seconds")).sort("clip").write_parquet(folder / "items.parquet")
    (folder / "schema.toml").write_text(SCHEMA)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
