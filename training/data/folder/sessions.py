"""Sessions as JSON lines, as OTTO publishes its own (https://github.com/otto-de/recsys-dataset), as a table of events.

    {"session": 7, "events": [{"aid": 59, "ts": 1659304800025, "type": "clicks"}, ...]}

The table has a row for each article of a session, at the time of its first event there, and says how far it came: the
columns `clicks`, `carts` and `orders` are 1 up to the farthest step, also where a step was left out. So objectives are
each within the one before, and an article that was ordered later counts as such from its first click on.
"""

from pathlib import Path

import polars as pl

from training.data.folder.problems import Problems, shown

ENDING = ".jsonl"
TYPES = ("clicks", "carts", "orders")
"""From the widest."""
COLUMNS = ("session", "aid", "ts", *TYPES)
SCHEMA = """\
# Sessions in the form of OTTO's recommender data: its data are CC BY 4.0; write your own licence for sessions of yours.
name = "{name}"
licence = "{licence}"

[events]
file = "{file}"
user = "session"
item = "aid"
time = "ts"
objectives = ["clicks", "carts", "orders"]
"""
LICENCE = "CC BY 4.0, OTTO (https://github.com/otto-de/recsys-dataset)"
_EVENT = pl.Struct({"aid": pl.Int64, "ts": pl.Int64, "type": pl.String})


def sessions(path: Path, problems: Problems) -> pl.DataFrame | None:
    """int64 `COLUMNS`, in the order of the file. None, with the problem told, for a line without a session, an event
    without a part, and one of another type."""
    read = pl.read_ndjson(path, schema={"session": pl.Int64, "events": pl.List(_EVENT)})
    lines = read.with_row_index("line", offset=1)
    events = lines.explode("events").drop_nulls("events").unnest("events")
    known = pl.col("type").replace_strict({name: place for place, name in enumerate(TYPES)}, default=None)
    events = events.with_columns(reached=known.cast(pl.Int64))
    for column in ("session", "aid", "ts", "reached"):
        if (bad := events.filter(pl.col(column).is_null())).height:
            name = "type" if column == "reached" else column
            remedy = f"write one of {', '.join(TYPES)}" if name == "type" else "write a whole number"
            problems.error(path.name, f"has an event with {shown(bad[name][0])}; {remedy}", name, row=bad["line"][0])
            return None
    order = events.with_row_index("place").sort("ts", "place")
    first = order.group_by("session", "aid", maintain_order=True).agg(
        pl.col("ts").first(), pl.col("place").first(), pl.col("reached").max()
    )
    flags = ((pl.col("reached") >= place).cast(pl.Int64).alias(name) for place, name in enumerate(TYPES))
    return first.sort("place").with_columns(*flags).select(COLUMNS)


def proposed(folder: Path, name: str) -> str | None:
    """A schema for the sessions of a folder, those of `train.jsonl` where there are several; None where it has none."""
    found = sorted(path.name for path in folder.glob(f"*{ENDING}"))
    if not found:
        return None
    file = f"train{ENDING}" if f"train{ENDING}" in found else found[0]
    return SCHEMA.format(name=name, file=file, licence=LICENCE)
