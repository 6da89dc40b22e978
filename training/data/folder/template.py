"""A commented `schema.toml`: an example, or a proposal for the tables of a folder."""

import json
import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import polars as pl

from training.data.folder.description import RESERVED
from training.data.folder.files import ENDINGS, SEPARATORS, header, separator_of
from training.data.folder.published import proposed as published_schema
from training.data.folder.reading import readable

EXAMPLE = """\
# What the tables of this folder hold. Tables are Parquet, or CSV (.csv, .tsv, also with .gz) in UTF-8 with a header:
# events.parquet, and where there are any items.parquet and users.parquet.
name = "shop"                 # commands take --dataset shop
licence = "internal"

[events]                      # one row for each event; columns that are not named here are not read
user = "customer_id"          # int64 or text of any size, in every row
item = "sku"                  # of knowledge tracing: the question
time = "at"                   # whole seconds or milliseconds since 1970, dates, datetimes, or 2024-05-17T08:30:00Z
# order = "position"          # instead of time, or beside it: whole numbers that count up within a user
label = "purchased"           # 0 or 1; of knowledge tracing: whether the answer was right
# value = "stars"             # instead of a label: a number,
# positive = ">= 4"           # and which of them are positives (>=, >, <=, < or ==). Without all of these every event
                              # is a positive.
# part = "split"              # train, validation or test, where the split is given; read by retrieval
# scenario = "page"           # where the event took place; figures are also given for each scenario
# objectives = ["seen", "clicked", "bought"]    # more columns of 0 and 1
# concepts = "skills"         # of knowledge tracing, where events and not [items] say what a question asks for: a list,
                              # or a text "sum|carry"; or { column = "skills", separator = "_" }
# file = "log.csv.gz"         # another file name
# format = "pykt"             # the file is in pyKT's form, or "robomission"; `recserve data template` proposes the rest
# separator = ";"             # of a CSV file; the comma, or the tab of .tsv, where nothing is said

[events.fields]               # what was known before the event took place, never what came of it
# device = "id"

[items]
# key = "id"                  # the column of the ids, where it has another name than in the events
[items.fields]
price = "dense"               # a number; scaled by what the training part says
brand = "id"                  # a category. The first one is the item's category, or that with use = "category"
tags = "multi"                # several: a list, or a text "red|round"
title = "text"                # read by a sentence encoder, shown to people
# colours = { kind = "multi", separator = ",", width = 8 }    # up to 8 are kept, 32 where nothing is said
# skills = { kind = "multi", use = "concept" }                # of knowledge tracing: what a question asks for
# shelf = { kind = "id", use = "scenario" }                   # the scenario of an event, where its item says it
# maker = { kind = "id", column = "Maker (EU)" }              # a column whose name is no field name

[users.fields]
country = "id"
"""

_USERS = ("user", "customer", "member", "client", "student", "pupil", "learner", "visitor", "uid", "account", "session")
_ITEMS = (
    "item",
    "product",
    "sku",
    "article",
    "movie",
    "film",
    "video",
    "clip",
    "question",
    "problem",
    "ad",
    "news",
    "book",
    "song",
)
_TIMES = ("time", "timestamp", "at", "date", "datetime", "ts", "when")
_LABELS = ("label", "click", "clicked", "is_click", "purchased", "bought", "correct", "right", "liked")
_VALUES = ("value", "rating", "stars", "score")
_CONCEPTS = ("concepts", "concept", "skills", "skill", "kcs", "kc", "topics")
_ROWS = 20_000
"""From the head of a table, on which a proposal rests."""
_FEW = 50
"""Distinct whole numbers up to which they look like categories."""
_MANY = 0.1
"""Share of rows with "|" from which on it looks like a separator."""
_YEARS = (1_000_000_000, 4_102_444_800)
"""Seconds of the years 2001 and 2100, between which whole numbers look like times; also in milli- and microseconds."""
_LONG = 20
"""Characters on average from which distinct strings look like a text."""


class Sample(NamedTuple):
    """The head of a table."""

    frame: pl.DataFrame
    separator: str | None
    """Where the schema has to name it."""


def propose(folder: Path) -> str:
    """A schema for the folder's tables, to be read and mended by a person.

    Raises ValueError without events, and for a table that cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one that holds tables")
    samples = {name: found for name in ("events", "items", "users") if (found := _sample(folder, name))}
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._") or "mine"
    if "events" not in samples:
        if published := published_schema(folder, name):
            return published
        raise ValueError(f"{folder} has no events.parquet or events.csv; write one row for each event into it")
    events = samples["events"].frame
    user, item = _shared(samples, "users", _USERS), _shared(samples, "items", _ITEMS)
    lines = [
        "# Proposed from the first rows of the tables: read each line; `recserve data check` says what is wrong.",
        f'name = "{name}"',
        'licence = "internal"',
        "",
        "[events]",
        *_separator(samples["events"]),
        _line("user", user, "which column says who?"),
        _line("item", item, "which column says what?"),
    ]
    used = {column for column in (user, item) if column}
    concepts = None if "items" in samples else _named([one for one in events.columns if one not in used], _CONCEPTS)
    lines += _outcome(events, used, of_answers=concepts is not None)
    if concepts:
        lines.append(f"concepts = {json.dumps(concepts)}    # what a question asks for, of knowledge tracing")
        used.add(concepts)
    rest = [column for column in events.columns if column not in used]
    if rest:
        lines += ["", "[events.fields]    # only what was known before the event took place, never what came of it"]
        proposed = zip(rest, _fields(events.select(rest)), strict=True)
        lines += [f"# {line}{_doubt(events[column])}" for column, line in proposed]
    for side, key, words in (("items", item, _ITEMS), ("users", user, _USERS)):
        if side in samples:
            lines += _side(side, samples[side], key, words)
    return "\n".join(lines) + "\n"


def _sample(folder: Path, name: str) -> Sample | None:
    """None where there is no such table."""
    for ending in ENDINGS:
        path = folder / f"{name}{ending}"
        if path.is_file():
            with readable(path):
                return _head(path)
    return None


def _head(path: Path) -> Sample:
    if path.suffix == ".parquet":
        return Sample(pl.scan_parquet(path).head(_ROWS).collect(), None)
    usual = separator_of(path, None)
    best = max((usual, *SEPARATORS), key=lambda one: len(header(path, one)))
    frame = pl.read_csv(path, separator=best, n_rows=_ROWS, ignore_errors=True, truncate_ragged_lines=True)
    return Sample(frame, best if best != usual else None)


def _outcome(events: pl.DataFrame, used: set[str], *, of_answers: bool) -> list[str]:
    """The lines of time, and of label or value; what they take, and further times, is added to `used`. What was right
    of answers is a value, by which a server can keep students."""
    rest = [column for column in events.columns if column not in used]
    timed = [one for one in rest if _looks_like_times(events[one])]
    time = next((one for one in rest if events[one].dtype.is_temporal()), None) or _named(rest, _TIMES)
    time = time or next(iter(timed), None)
    flags = [one for one in rest if one != time and _is_flag(events[one])]
    label = _named(flags, _LABELS)
    value = None if label else _named([one for one in rest if events[one].dtype.is_numeric()], _VALUES)
    used |= {column for column in (time, label, value, *timed) if column}
    lines = [_line("time", time, "which column says when? or order = ..., or neither")]
    if value:
        bound = f"{events[value].cast(pl.Float64).median() or 0:g}"
        return [*lines, f"value = {json.dumps(value)}", f'positive = ">= {bound}"    # which values are positives?']
    if label and of_answers:
        return [*lines, f"value = {json.dumps(label)}", 'positive = ">= 1"    # what is right']
    lines.append(_line("label", label, "a column of 0 and 1; leave it out if every event is a positive"))
    if others := [one for one in flags if one != label]:
        listed = ", ".join(map(json.dumps, others))
        lines.append(f"# objectives = [{listed}]    # more columns of 0 and 1")
        used |= {*others}
    return lines


def _side(side: str, sample: Sample, key: str | None, words: Sequence[str]) -> list[str]:
    frame = sample.frame
    own = key if key in frame.columns else _key(frame, words) or frame.columns[0]
    lines = ["", f"[{side}]", *_separator(sample)] + ([f"key = {json.dumps(own)}"] if own != key else [])
    return [*lines, f"[{side}.fields]", *_fields(frame.drop(own))]


def _separator(sample: Sample) -> list[str]:
    return [f"separator = {json.dumps(sample.separator)}"] if sample.separator else []


def _fields(frame: pl.DataFrame) -> list[str]:
    """A line for each column, each with a name of its own."""
    lines: dict[str, str] = {}
    for values in frame:
        short = re.sub(r"\W+", "_", values.name).strip("_") or "field"
        short = f"my_{short}" if short in RESERVED or short[0].isdigit() else short
        name = next(one for one in chain([short], (f"{short}_{n}" for n in count(2))) if one not in lines)
        lines[name] = _field(name, values)
    return [*lines.values()]


def _field(name: str, values: pl.Series) -> str:
    kind = _kind(values)
    if name == values.name:
        return f'{name} = "{kind}"'
    return f'{name} = {{ kind = "{kind}", column = {json.dumps(values.name)} }}'


def _kind(values: pl.Series) -> str:
    known = values.drop_nulls()
    if values.dtype.is_nested():
        return "multi"
    if values.dtype.is_float():
        return "dense"
    if values.dtype.is_integer():
        return "id" if known.n_unique() <= _FEW else "dense"
    if values.dtype != pl.String or not len(known):
        return "id"
    if _looks_like_several(known):
        return "multi"
    long = (known.str.len_chars().mean() or 0) > _LONG  # pyright: ignore[reportOperatorIssue]
    return "text" if values.name == "title" or (long and known.n_unique() > len(known) / 2) else "id"


def _shared(samples: dict[str, Sample], side: str, words: Sequence[str]) -> str | None:
    """The column of the events that holds ids of a side: one that the side's table has too, or one by its name."""
    events = samples["events"].frame
    if side in samples:
        both = [column for column in events.columns if column in samples[side].frame.columns]
        if found := _key(events.select(both), words) or (both[0] if len(both) == 1 else None):
            return found
    return _key(events, words)


def _key(frame: pl.DataFrame, words: Sequence[str]) -> str | None:
    keys = [one for one in frame.columns if not frame[one].dtype.is_float() and not frame[one].dtype.is_temporal()]
    return _named(keys, words)


def _named(columns: Sequence[str], words: Sequence[str]) -> str | None:
    """The first column that one of the words names whole, or else that has it as a part."""
    parts = {column: re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()) for column in columns}
    whole = [column for word in words for column in columns if column.lower() == word]
    return next(iter([*whole, *(column for word in words for column in columns if word in parts[column])]), None)


def _is_flag(values: pl.Series) -> bool:
    known = values.drop_nulls()
    return values.dtype == pl.Boolean or (values.dtype.is_integer() and known.n_unique() == 2 and known.max() == 1)


def _doubt(values: pl.Series) -> str:
    """A comment behind a field of events that may be the user, the item or the event's own number."""
    known = values.drop_nulls()
    if not (values.dtype == pl.String or values.dtype.is_integer()) or known.n_unique() <= _FEW:
        return ""
    return "    # many distinct values: if they are ids, leave it out"


def _looks_like_several(texts: pl.Series) -> bool:
    """Whether "|" separates values, in many rows or with parts that recur: in a few titles it does not."""
    number, distinct = int(texts.str.contains("|", literal=True).sum()), texts.unique()
    if number > _MANY * len(texts):
        return True
    return number > 0 and distinct.str.split("|").explode().n_unique() <= len(distinct)


def _looks_like_times(values: pl.Series) -> bool:
    """Whole seconds, milliseconds or microseconds of this century."""
    known = values.drop_nulls()
    if not values.dtype.is_integer() or known.n_unique() <= 1:
        return False
    first, last = _YEARS
    return any(known.is_between(first * rate, last * rate).all() for rate in (1, 1_000, 1_000_000))


def _line(key: str, column: str | None, question: str) -> str:
    return f"{key} = {json.dumps(column)}" if column else f'# {key} = "..."    # {question}'
