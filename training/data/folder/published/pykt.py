"""Answers as pyKT writes them (https://github.com/pykt-team/pykt-toolkit): one line holds several answers of a student.

    fold,uid,questions,concepts,responses,timestamps,selectmasks
    0,17,"5,9,-1","2,2_4,-1","1,0,-1","1541030400000,1541030460000,-1","1,1,-1"

Concepts of one question are joined by "_"; places that a mask leaves out (-1) are padding, or stand in another line
too. The lines of a student follow one another in time. The table has one row for each answer, whatever the number of
its concepts: of files in which each concept has a place of its own (`is_repeat`), the form by questions is to be taken.
The folds are not read: what trains and what tests is the task's own split.
"""

from pathlib import Path

import polars as pl

from training.data.folder.problems import Problems
from training.data.folder.published.csv_text import refuse, texts, with_header

COLUMNS = ("uid", "questions", "concepts", "responses", "timestamps", "place")
SCHEMA = """\
# Answers in pyKT's form. Its sets are those of other publishers: write the licence under which you have this one.
name = "{name}"
licence = "unknown: the licence of these data"

[events]
format = "pykt"
file = "{file}"
user = "uid"
item = "questions"
label = "responses"
order = "place"               # of an answer among its student's, from 0
# time = "timestamps"         # where all answers have one, in seconds or milliseconds since 1970
concepts = {{ column = "concepts", separator = "_" }}
"""
_NEEDED = ("uid", "concepts", "responses", "selectmasks")
_LISTS = ("questions", "concepts", "responses", "timestamps", "selectmasks", "is_repeat")
_NONE = ("NA", "-1", "")


def answers(path: Path, problems: Problems) -> pl.DataFrame | None:
    """`COLUMNS` as text, answers in the order of the file; a question is its concepts where the file names none. None,
    with the problem told, for lists of unlike lengths, an answer without a student or a concept, another response than
    0 and 1, and concepts with places of their own."""
    lines = texts(path, _NEEDED, problems)
    if lines is None:
        return None
    lists = [name for name in _LISTS if name in lines.columns and (name in _NEEDED or _is_given(lines[name]))]
    split = lines.select("row", "uid", *(pl.col(name).str.split(",") for name in lists))
    if not _are_alike(path.name, split, lists, problems):
        return None
    places = split.explode(lists).filter(pl.col("selectmasks").str.strip_chars() == "1")
    if not _are_sound(path.name, places, problems):
        return None
    found = places.with_columns(
        pl.col("questions") if "questions" in lists else pl.col("concepts").alias("questions"),
        pl.col("timestamps") if "timestamps" in lists else pl.lit(None, pl.String).alias("timestamps"),
        place=pl.int_range(pl.len()).over("uid").cast(pl.String),
    )
    return found.select(COLUMNS)


def proposed(folder: Path, name: str) -> str | None:
    """A schema for such a file of a folder, where there are several one by questions, and of the training part; None
    where it has none."""
    found = sorted(with_header(folder, _NEEDED), key=lambda one: ("quelevel" not in one, "train" not in one, one))
    return SCHEMA.format(name=name, file=found[0]) if found else None


def _is_given(column: pl.Series) -> bool:
    """Whether there is anything; what a set does not have is written as NA."""
    return not (column.is_null() | (column == "NA")).all()


def _are_alike(file: str, split: pl.DataFrame, lists: list[str], problems: Problems) -> bool:
    for name in lists:
        length, masks = pl.col(name).list.len().fill_null(0), pl.col("selectmasks").list.len().fill_null(0)
        if len(bad := split.filter(length != masks)):
            numbers = [len(bad[one][0]) if bad[one][0] is not None else 0 for one in (name, "selectmasks")]
            what = f"has {numbers[0]} values and selectmasks has {numbers[1]}; write as many, -1 where there is nothing"
            problems.error(file, what, name, row=bad["row"][0])
            return False
    return True


def _are_sound(file: str, places: pl.DataFrame, problems: Problems) -> bool:
    columns = {name for name in places.columns if name in ("questions", "concepts")}
    bad = [
        ("uid", pl.col("uid").is_null() | (pl.col("uid") == ""), "is empty; say who answered"),
        ("responses", ~pl.col("responses").is_in(["0", "1"]), "is {value}; write 1 for a right answer, else 0"),
        *((name, pl.col(name).is_in(_NONE), "is {value}; name it, or mask the answer") for name in sorted(columns)),
    ]
    if "is_repeat" in places.columns:
        repeats = "gives each concept an answer of its own, which shows it to the others; take the file by questions"
        bad.append(("is_repeat", pl.col("is_repeat") == "1", repeats))
    return not any(refuse(file, places, wrong, name, what, problems) for name, wrong, what in bad)
