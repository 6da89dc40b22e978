"""MovieLens-100k: 100,000 ratings of 1,682 films by 943 people, 1997 and 1998 (Harper and Konstan, 2015).

- Event: one rating; value 1 to 5, label 1 where it is 4 or 5, time in Unix seconds. Three quarters of all ratings share
  their second with another of the same user.
- Users: age in years, gender, occupation and the whole zip code; for a profile age in the groups of MovieLens-1M and
  the zip code's region.
- Items: release year and the set of genres as one category; for a profile the genres; one genre as the category
  (`training.data.content.categories`); title.
- Scenario: the era of the film, before 1980, the eighties, 1990 to 1995, 1996 on. It is made from the release year, so
  it is no page of an app, and it is no field of a model: the year is.
- Objectives, of `ml-100k-objectives` alone, which is the same events under a name and a schema of its own: rated, liked
  (4 or 5) and loved (5), each within the one before.
- Content: text is title with year, and genres; the second modality is a knowledge graph (`ml100k_content`).
- Ids: the published ones, from 1; 0 is "unknown". They are those of the published tables of users and films, which hold
  no label; which of them are known to a model is up to the training part.
"""

import re
from bisect import bisect_right
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from training.data.content import categories
from training.data.encode import encode
from training.data.fetch import ORIGINS, fetch
from training.data.formats import GENRES
from training.data.ml100k_content import content, genre_attributes
from training.interactions import Dataset, Interactions, Report
from training.schema import UNKNOWN, Field, Schema

POSITIVE_RATING = 4
"""Ratings from this one on are positive labels."""
_MAX_RATING = 5
_OBJECTIVES = {"rated": 1, "liked": POSITIVE_RATING, "loved": _MAX_RATING}
"""Name -> the lowest rating that serves it."""
AGES = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56 and over")
"""The buckets of MovieLens-1M."""
_AGE_BORDERS = (18, 25, 35, 45, 50, 56)
GENDERS = ("F", "M")
ERAS = ("before 1980", "1980s", "1990 to 1995", "1996 on")
_ERA_BORDERS = (1980, 1990, 1996)
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


def read(cache: Path | None, report: Report) -> Interactions:
    """The set as the module's docstring defines it; fetched first where it is not cached. Raises as `fetch` does."""
    folder = fetch("ml-100k", cache, report)
    ratings, items, users = (pl.read_parquet(folder / f"{name}.parquet") for name in ("ratings", "items", "users"))
    of_user, user_fields = _users(users.sort("user"))
    of_item, item_fields = _items(items.sort("item"))
    return Interactions(
        schema=Schema(dataset="ml-100k", fields=(*user_fields, *item_fields, *_EVENT_FIELDS)),
        events=ratings.select(
            "user",
            "item",
            time="timestamp",
            value=pl.col("rating").cast(pl.Int64),
            label=(pl.col("rating") >= POSITIVE_RATING).cast(pl.Float32),
        ),
        users=of_user,
        items=of_item,
        licence=ORIGINS["ml-100k"].licence,
        load_content=lambda: content(items, cache, report),
    )


def with_objectives(cache: Path | None, report: Report) -> Interactions:
    """The same events with objectives. A set of its own, so that the schema of the other, which runs and releases are
    held to, stays what it was."""
    plain = read(cache, report)
    rating = pl.col("value")
    reached = {name: (rating >= least).cast(pl.Float32) for name, least in _OBJECTIVES.items()}
    fields = (Field(name=name, role="event", kind="id", uses=("objective",), cardinality=2) for name in reached)
    schema = Schema(dataset=OBJECTIVES.name, fields=(*plain.schema.fields, *fields))
    return replace(plain, schema=schema, events=plain.events.with_columns(**reached))


_EVENT_FIELDS = (
    Field(name="time", role="event", kind="dense", uses=("time",)),
    Field(name="rating", role="event", kind="id", uses=("value",), cardinality=_MAX_RATING + 1),
    Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
)


def _users(users: pl.DataFrame) -> tuple[pl.DataFrame, list[Field]]:
    """Rows by id, 1 to U, after that of the unknown user; and the fields."""
    ages = np.searchsorted(_AGE_BORDERS, users["age"].to_numpy(), side="right")
    regions = [code[0] if code[0] in ZIP_REGIONS else "other" for code in users["zip_code"]]
    columns = {
        "age": (encode(users["age"].cast(pl.String)), ("feature",)),
        "age_group": ((1 + ages, (UNKNOWN, *AGES)), ("profile",)),
        "gender": (encode(users["gender"]), ("feature", "profile")),
        "occupation": (encode(users["occupation"]), ("feature", "profile")),
        "zip_code": (encode(users["zip_code"]), ("feature",)),
        "zip_region": (
            (np.array([1 + ZIP_REGIONS.index(region) for region in regions]), (UNKNOWN, *ZIP_REGIONS)),
            ("profile",),
        ),
    }
    fields = [Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=len(users) + 1)]
    fields += [
        Field(name=name, role="user", kind="id", uses=uses, cardinality=len(values), values=values)
        for name, ((_, values), uses) in columns.items()
    ]
    return pl.DataFrame({name: np.append(0, ids) for name, ((ids, _), _) in columns.items()}), fields


def _items(items: pl.DataFrame) -> tuple[pl.DataFrame, list[Field]]:
    """Rows by id, 1 to I, after that of the unknown item; and the fields."""
    years = [re.findall(r"\((\d{4})\)", title) for title in items["title"]]
    year, year_values = encode([found[-1] if found else None for found in years])
    era = [1 + bisect_right(_ERA_BORDERS, int(found[-1])) if found else 0 for found in years]
    sets = ["|".join(names) for names in items["genres"]]
    genre_set, set_values = encode([None if names == UNKNOWN else names for names in sets])
    category = categories(genre_attributes(items), len(items))
    frame = pl.DataFrame(
        {
            "title": [UNKNOWN, *items["title"]],
            "release_year": np.append(0, year),
            "genre_set": np.append(0, genre_set),
            "genres": [[], *([1 + GENRES.index(name) for name in names] for names in items["genres"])],
            "category": category,
            "era": np.append(0, era),
        },
        schema_overrides={"genres": pl.List(pl.Int64)},
    )
    width = int(frame["genres"].list.len().cast(pl.Int64).to_numpy().max())
    id_fields = {"release_year": year_values, "genre_set": set_values}
    fields = [Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=len(frame))]
    fields += [
        Field(name=name, role="item", kind="id", uses=("feature",), cardinality=len(values), values=values)
        for name, values in id_fields.items()
    ]
    genres = Field(
        name="genres",
        role="item",
        kind="multi",
        uses=("profile",),
        cardinality=len(GENRES) + 1,
        width=width,
        values=("none", *GENRES),
    )
    size = int(category.max()) + 1
    return frame, [
        *fields,
        genres,
        Field(name="category", role="item", kind="id", uses=("category",), cardinality=size),
        Field(
            name="era", role="item", kind="id", uses=("scenario",), cardinality=len(ERAS) + 1, values=(UNKNOWN, *ERAS)
        ),
    ]


DATASET = Dataset(
    name="ml-100k",
    what="MovieLens-100k: 100,000 ratings of 1,682 films by 943 people",
    licence=ORIGINS["ml-100k"].licence,
    read=read,
)

OBJECTIVES = Dataset(
    name="ml-100k-objectives",
    what="MovieLens-100k with objectives: rated, liked, loved",
    licence=ORIGINS["ml-100k"].licence,
    read=with_objectives,
)
