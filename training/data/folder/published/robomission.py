"""Attempts at programming tasks as RoboMission publishes its own, `attempts.csv` of
https://github.com/adaptive-learning/adaptive-learning-research/tree/master/data/robomission-2019-11 (T. Effenberger,
Blockly Programming Dataset, CSEDM 2019).

The table has its columns of students, items, order, start and success, and two that a concept can be: `sublevel`, as
"2.1", of the tuple (level, sublevel, place) in `item_order`, and `blocks`, those that the toolbox of `item_setting`
offers, joined by "|". Nothing is fetched: whoever may use the file puts it into a folder.
"""

import json
from pathlib import Path

import polars as pl

from training.data.folder.problems import Problems
from training.data.folder.published.csv_text import refuse, texts, with_header

COLUMNS = ("student", "item", "event_order", "start", "solved", "sublevel", "blocks")
SCHEMA = """\
# Attempts in RoboMission's form. Its repository is GPL-3.0 and says nothing further of the data: see what you may do.
name = "{name}"
licence = "GPL-3.0 of the repository, none of the data: T. Effenberger, Blockly Programming Dataset, CSEDM 2019"

[events]
format = "robomission"
file = "{file}"
user = "student"
item = "item"
label = "solved"
order = "event_order"
# time = "start"
concepts = "sublevel"         # or "blocks", those that the task's toolbox offers
"""
_NEEDED = ("event_order", "student", "item", "start", "item_setting", "item_order", "solved")
_ORDER = r"^\W*(\d+)\W+(\d+)\W+\d+\W*$"


def attempts(path: Path, problems: Problems) -> pl.DataFrame | None:
    """`COLUMNS` as text, in the order of the file. None, with the problem told, for an attempt without a student, an
    item, an order of three numbers or a setting."""
    rows = texts(path, _NEEDED, problems)
    if rows is None:
        return None
    parts = pl.col("item_order").str.extract_groups(_ORDER).struct
    blocks = {one: _blocks(one) for one in rows["item_setting"].unique().to_list()}
    found = rows.with_columns(
        sublevel=pl.concat_str(parts.field("1"), pl.lit("."), parts.field("2")),
        blocks=pl.col("item_setting").replace_strict(blocks, return_dtype=pl.String),
    )
    bad = [
        *((name, pl.col(name).is_null() | (pl.col(name) == ""), "is empty; give each row one") for name in COLUMNS[:2]),
        ("item_order", pl.col("sublevel").is_null(), "is {value}; write (level, sublevel, place)"),
        ("item_setting", pl.col("blocks").is_null(), "has no toolbox; write the JSON of the item with its toolbox"),
    ]
    if any(refuse(path.name, found, wrong, name, what, problems) for name, wrong, what in bad):
        return None
    return found.select(COLUMNS)


def proposed(folder: Path, name: str) -> str | None:
    """A schema for such a file of a folder; None where it has none."""
    found = with_header(folder, _NEEDED)
    return SCHEMA.format(name=name, file=found[0]) if found else None


def _blocks(setting: str | None) -> str | None:
    """The blocks of a toolbox, or its name; None where the setting has none."""
    try:
        toolbox = json.loads(setting or "")["toolbox"]
    except (ValueError, TypeError, KeyError):
        return None
    return "|".join(map(str, toolbox)) if isinstance(toolbox, list) else str(toolbox)
