"""`python docs/examples/films_tables.py FOLDER`: MovieLens latest-small as a team's own tables, in CSV.

Ids are text (u00042, m000296), ratings are half stars with a rule, films have an age in years, genres and a title.
"""

import os
import sys
from pathlib import Path

import polars as pl

SCHEMA = """\
name = "films"
licence = "MovieLens, GroupLens: not for commercial use, redistribution under the same terms"

[events]
file = "ratings.csv.gz"
user = "user"
item = "film"
time = "at"
value = "stars"
positive = ">= 4"

[items]
key = "film"

[items.fields]
age = "dense"
genres = "multi"
title = "text"
"""
_NOW = 2015
"""The year of the set; the age of a film is counted from it."""


def main(folder: Path) -> None:
    """Writes ratings.csv.gz, items.csv and schema.toml."""
    published = Path(os.environ["RECSERVE_DATA"]) / "ml-latest-small"
    names = ["user", "film", "stars", "seconds"]
    ratings = pl.read_csv(published / "ratings.csv.gz", has_header=False, new_columns=names)
    films = pl.read_csv(published / "movies.csv", has_header=False, new_columns=["film", "title", "genres"])
    film = pl.format("m{}", pl.col("film").cast(pl.String).str.zfill(6))
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64)
    folder.mkdir(parents=True)
    events = ratings.select(
        user=pl.format("u{}", pl.col("user").cast(pl.String).str.zfill(5)),
        film=film,
        at=pl.from_epoch("seconds").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        stars="stars",
    )
    events.write_csv(folder / "ratings.csv.gz", compression="gzip")
    genres = pl.when(pl.col("genres") != "(no genres listed)").then("genres")
    films.select(film=film, age=_NOW - year, genres=genres, title="title").write_csv(folder / "items.csv")
    (folder / "schema.toml").write_text(SCHEMA)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
