"""The two published forms of MovieLens-100k, parsed into one canonical set of tables.

The publisher's zip holds `u.data` (tab separated), `u.item` and `u.user` ('|' separated, Latin-1, 19 genre flags).
The RecBole wheel holds the same ratings, and items and users with a header line and tab separators.
"""

import io
import zipfile
from typing import NamedTuple

import polars as pl

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The order of the publisher's flags."""

_TITLE_PARTS = 4
_FIRST_FLAG = 5


class Tables(NamedTuple):
    """The canonical form."""

    ratings: pl.DataFrame
    """user int64, item int64, rating int8, timestamp int64 (Unix seconds), in the publisher's order."""
    items: pl.DataFrame
    """item int64, title str with the year where it is known, genres list[str] in the order of `GENRES`."""
    users: pl.DataFrame
    """user int64, age int64, gender str, occupation str, zip_code str."""


def parse_ratings(content: bytes, header: bool) -> pl.DataFrame:
    """`u.data`, or `ml-100k.inter` with its header line."""
    schema = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Int8, "timestamp": pl.Int64}
    return pl.read_csv(io.BytesIO(content), separator="\t", has_header=False, skip_rows=int(header), schema=schema)


def parse_publisher_items(content: bytes) -> pl.DataFrame:
    """`u.item`: id | title | release date | video date | URL | 19 flags."""
    rows = [line.split("|") for line in content.decode("latin-1").splitlines() if line]
    flags = [[genre for genre, flag in zip(GENRES, row[_FIRST_FLAG:], strict=True) if flag == "1"] for row in rows]
    return _items([int(row[0]) for row in rows], [row[1] for row in rows], flags)


def parse_publisher_users(content: bytes) -> pl.DataFrame:
    """`u.user`: id | age | gender | occupation | zip code."""
    return _users([line.split("|") for line in content.decode("latin-1").splitlines() if line])


def parse_wheel_items(content: bytes) -> pl.DataFrame:
    """`ml-100k.item`: id, title without the year, year, genres separated by spaces."""
    rows = [line.split("\t") for line in content.decode().splitlines()[1:]]
    known = set(GENRES)
    if bad := [row for row in rows if len(row) != _TITLE_PARTS or not known.issuperset(row[3].split())]:
        raise ValueError(f"ml-100k.item: cannot read the line {bad[0]}")
    titles = [f"{row[1]} ({row[2]})" if row[2].isdigit() else "unknown" for row in rows]
    return _items([int(row[0]) for row in rows], titles, [row[3].split() for row in rows])


def parse_wheel_users(content: bytes) -> pl.DataFrame:
    """`ml-100k.user`: id, age, gender, occupation, zip code."""
    return _users([line.split("\t") for line in content.decode().splitlines()[1:]])


def parse_publisher_zip(content: bytes) -> Tables:
    """The publisher's `ml-100k.zip`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return Tables(
            parse_ratings(archive.read("ml-100k/u.data"), header=False),
            parse_publisher_items(archive.read("ml-100k/u.item")),
            parse_publisher_users(archive.read("ml-100k/u.user")),
        )


def parse_wheel_files(files: dict[str, bytes]) -> Tables:
    """The wheel's files by name: `ml-100k.inter`, `ml-100k.item`, `ml-100k.user`."""
    return Tables(
        parse_ratings(files["ml-100k.inter"], header=True),
        parse_wheel_items(files["ml-100k.item"]),
        parse_wheel_users(files["ml-100k.user"]),
    )


def _items(ids: list[int], titles: list[str], genres: list[list[str]]) -> pl.DataFrame:
    schema = {"item": pl.Int64, "title": pl.String, "genres": pl.List(pl.String)}
    return pl.DataFrame({"item": ids, "title": titles, "genres": genres}, schema=schema)


def _users(rows: list[list[str]]) -> pl.DataFrame:
    columns = {
        "user": [int(row[0]) for row in rows],
        "age": [int(row[1]) for row in rows],
        "gender": [row[2] for row in rows],
        "occupation": [row[3] for row in rows],
        "zip_code": [row[4] for row in rows],
    }
    schema = {"user": pl.Int64, "age": pl.Int64, "gender": pl.String, "occupation": pl.String, "zip_code": pl.String}
    return pl.DataFrame(columns, schema=schema)
