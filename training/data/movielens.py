"""MovieLens-100k: 100,000 ratings of 1,682 films by 943 people, 1997 and 1998 (Harper and Konstan, 2015).

Protocol
- Sample: one rating. Label: 1 where the rating is 4 or 5, else 0.
- Split: all ratings sorted by (timestamp, row in the published file). Train is the first 80 %, validation the next
  10 %, test the last 10 %. Where a border falls among ratings with one timestamp, all ratings of that second go to the
  earlier part, so every timestamp of a part is smaller than every timestamp of the next. The parts have 80,000, 10,000
  and 10,000 ratings give or take those ties.
- History of a sample: the same user's ratings with a strictly smaller timestamp, newest first (of one second: the later
  row first), at most `max_length`. Ratings of the same second are left out, for nobody knows which came first: three
  quarters of all ratings share their second with another of the same user. In validation and test the history
  includes the user's ratings from earlier parts and from the same part: they lie in the target's past.
- Fitting: weights and statistics (`train_item_counts`) come from train alone; validation chooses the epoch; test is
  measured once at the end. A film or a user absent from train is a cold start, and is not removed.
- Ids: user, item and user-field ids start at 1; 0 is "unknown".

The same ratings and parts as rows of categorical fields (`load_fields`): user_id, age in years, gender, occupation and
the whole zip code; item_id, release year and the set of genres as one category. The ids are those of the published
tables of users and films, which hold no label; which of them are known is up to the training part.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from training.data.fetch import Report, fetch, silent
from training.data.fields import UNKNOWN, FieldData, UserSide, encode, split_fields
from training.data.formats import GENRES
from training.data.ranking import USER_FIELDS, Catalogue, Events, RankingData, split_by_time
from training.schema import Field, Schema

MovieLens = RankingData

AGES = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56 and over")
"""The buckets of MovieLens-1M."""
_AGE_BORDERS = (18, 25, 35, 45, 50, 56)
GENDERS = ("F", "M")
OCCUPATIONS = (
    "administrator",
    "artist",
    "doctor",
    "educator",
    "engineer",
    "entertainment",
    "executive",
    "healthcare",
    "homemaker",
    "lawyer",
    "librarian",
    "marketing",
    "none",
    "other",
    "programmer",
    "retired",
    "salesman",
    "scientist",
    "student",
    "technician",
    "writer",
)
ZIP_REGIONS = (*"0123456789", "other")
"""First digit of the zip code; other: a code that starts with a letter, from outside the United States."""
_FIELD_VALUES = dict(zip(USER_FIELDS, (AGES, GENDERS, OCCUPATIONS, ZIP_REGIONS), strict=True))


def load(max_length: int = 256, cache: Path | None = None, report: Report = silent) -> MovieLens:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch("ml-100k", cache, report)
    ratings, items, users = (pl.read_parquet(folder / f"{name}.parquet") for name in ("ratings", "items", "users"))
    catalogue = Catalogue(
        titles=dict(items.select("item", "title").iter_rows()),
        genres=GENRES,
        item_genres=_item_genres(items),
        user_fields=_user_fields(users),
        field_values={name: (UNKNOWN, *values) for name, values in _FIELD_VALUES.items()},
    )
    return split_by_time("ml-100k", ratings, catalogue, max_length)


def load_fields(cache: Path | None = None, report: Report = silent) -> FieldData:
    """The set as rows of categorical fields, as the module's docstring defines them. Raises as `fetch` does."""
    folder = fetch("ml-100k", cache, report)
    ratings, items, users = (pl.read_parquet(folder / f"{name}.parquet") for name in ("ratings", "items", "users"))
    titles = dict(items.select("item", "title").iter_rows())
    of_user, user_fields = _side("user", users["user"].to_numpy(), _user_categories(users))
    of_item, item_fields = _side("item", items["item"].to_numpy(), _item_categories(items))
    events = Events(ratings)
    schema = Schema(dataset="ml-100k-fields", fields=(*user_fields, *item_fields))
    known = np.sort(users["user"].to_numpy())
    users_side = UserSide(at_event=of_user[events.user], now=of_user[known], ids=known)
    return split_fields(schema, events, users_side, of_item, titles)


def _side(
    side: Literal["user", "item"], raw: np.ndarray, columns: dict[str, Sequence[str | None]]
) -> tuple[np.ndarray, list[Field]]:
    """Ids int64 [largest raw id + 1, 1 + columns] by raw id, row 0 zeros, and their fields; the raw id comes first."""
    rows = np.zeros((int(raw.max()) + 1, 1 + len(columns)), np.int64)
    rows[raw, 0] = raw
    fields = [Field(name=f"{side}_id", kind="id", cardinality=len(rows), side=side)]
    for number, (name, values) in enumerate(columns.items(), 1):
        rows[raw, number], names = encode(values)
        fields.append(Field(name=name, kind="id", cardinality=len(names), values=names, side=side))
    return rows, fields


def _user_categories(users: pl.DataFrame) -> dict[str, Sequence[str | None]]:
    names = ("age", "gender", "occupation", "zip_code")
    return {name: users[name].cast(pl.String).to_list() for name in names}


def _item_categories(items: pl.DataFrame) -> dict[str, Sequence[str | None]]:
    years = [re.findall(r"\((\d{4})\)", title) for title in items["title"]]
    genres = ["|".join(names) for names in items["genres"]]
    return {
        "release_year": [found[-1] if found else None for found in years],
        "genres": [None if names == UNKNOWN else names for names in genres],
    }


def _item_genres(items: pl.DataFrame) -> np.ndarray:
    flags = np.zeros((int(items["item"].to_numpy().max()) + 1, len(GENRES)), np.float32)
    for item, names in items.select("item", "genres").iter_rows():
        flags[item, [GENRES.index(name) for name in names]] = 1.0
    return flags


def _user_fields(users: pl.DataFrame) -> np.ndarray:
    fields = np.zeros((int(users["user"].to_numpy().max()) + 1, len(USER_FIELDS)), np.int64)
    for user, age, gender, occupation, zip_code in users.iter_rows():
        region = zip_code[0] if zip_code[0] in ZIP_REGIONS else "other"
        fields[user] = (
            1 + int(np.searchsorted(_AGE_BORDERS, age, side="right")),
            1 + GENDERS.index(gender),
            1 + OCCUPATIONS.index(occupation),
            1 + ZIP_REGIONS.index(region),
        )
    return fields
