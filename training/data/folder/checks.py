"""What must hold of a whole table of events: enough of it, no event twice, an order in time, parts that can be used,
no field that gives the label away."""

import numpy as np
import polars as pl

from training.data.folder.description import EventsPart
from training.data.folder.files import Table
from training.data.folder.parts import Borders, borders
from training.data.folder.problems import shown

LEAST_EVENTS, LEAST_USERS, LEAST_ITEMS = 10, 2, 2
_ANSWERS_A_STUDENT = 2
_EVENTS_A_VALUE = 10
"""On average, from which on it is no accident that each value has one label."""


def check(table: Table, part: EventsPart, events: pl.DataFrame) -> None:
    """Tells all that is wrong. `events` has user, item, and where they could be read time, order and label."""
    if not _enough(table, part, events) or ("time" in events.columns and not _parts(table, part, events)):
        return
    _once(table, part, events)
    _hidden(table, part, events)
    if part.concepts:
        _answers(table, part, events)
    if {"time", "order"} <= {*events.columns}:
        _forwards(table, part, events)


def _enough(table: Table, part: EventsPart, events: pl.DataFrame) -> bool:
    """Whether there is anything that can be looked at further."""
    few = False
    for number, least, what, column in (
        (len(events), LEAST_EVENTS, "events", None),
        (events["user"].n_unique(), LEAST_USERS, "users", part.user),
        (events["item"].n_unique(), LEAST_ITEMS, "items", part.item),
    ):
        if number < least:
            few = True
            table.problems.error(table.file, f"has too few {what} ({number}); at least {least} are needed", column)
    return not few


def _once(table: Table, part: EventsPart, events: pl.DataFrame) -> None:
    """The same user, item and time (or order). Without either nothing tells a repetition from a mistake."""
    moment = [name for name in ("time", "order") if name in events.columns]
    if not moment:
        return
    keys = ["user", "item", *moment]
    sorted_ = events.select(keys).with_row_index("row").sort(keys, maintain_order=True)
    same = pl.all_horizontal(*(pl.col(name) == pl.col(name).shift() for name in keys))
    found = sorted_.select(pl.col("row"), first=pl.col("row").shift(), same=same).filter("same")
    if not len(found):
        return
    row, first = found.sort("row").select("row", "first").row(0)
    item = shown(table.frame[part.item][row])
    others = f" ({len(found)} such rows)" if len(found) > 1 else ""
    where = getattr(part, moment[0])
    what = f"is the event of row {first + 1} once more (same user, item {item}, same {moment[0]}){others}"
    table.problems.error(table.file, f"{what}; keep one of them, or write a finer {moment[0]}", where, row + 1)


def _answers(table: Table, part: EventsPart, events: pl.DataFrame) -> None:
    """Warns of values of answers other than 0 and 1, and of students without a history."""
    if part.value and part.positive and "value" in events.columns:
        values = table.frame[part.value].cast(pl.Float64, strict=False).drop_nulls()
        other, rule = values.filter(~values.is_in([0.0, 1.0])), part.positive
        if len(other):
            what = f"has {len(other)} values other than 0 and 1, such as {other[0]:g}"
            right = f"what is {rule.sign} {rule.bound:g} counts as a right answer, all else as a wrong one"
            table.problems.warn(table.file, f"{what}; {right}", part.value)
    if len(events) < _ANSWERS_A_STUDENT * events["user"].n_unique():
        what = f"has fewer than {_ANSWERS_A_STUDENT} answers of a student on average"
        table.problems.warn(table.file, f"{what}; a model of students has next to no history to read", part.user)


def _hidden(table: Table, part: EventsPart, events: pl.DataFrame) -> None:
    """Warns of fields by whose value alone the label of every event can be told, as by a copy of it."""
    if "label" not in events.columns:
        return
    columns = {field.name: field.column for field in part.fields}
    if part.scenario:
        columns[part.scenario] = part.scenario
    for name in [name for name in columns if name in events.columns]:
        values, label = events[name], events["label"]
        dense = values.dtype == pl.Float32
        if _separates(values.to_numpy(), label.to_numpy()) if dense else _decides(values, label):
            what = "tells the label of every event; take it out unless it was known before the event took place"
            table.problems.warn(table.file, what, columns[name])


def _decides(values: pl.Series, label: pl.Series) -> bool:
    """Whether all events with the same value have the same label, and values are few enough for that to mean much."""
    labels = pl.DataFrame({"value": values, "label": label}).group_by("value").agg(pl.col("label").n_unique())["label"]
    return len(labels) <= len(values) / _EVENTS_A_VALUE and bool((labels == 1).all())


def _separates(values: np.ndarray, label: np.ndarray) -> bool:
    """Whether the numbers of positives and of negatives lie apart, and none is missing (NaN)."""
    positives, negatives = values[label > 0], values[label <= 0]
    return bool(positives.max() < negatives.min() or negatives.max() < positives.min())


def _forwards(table: Table, part: EventsPart, events: pl.DataFrame) -> None:
    """Along a user's order, time must not go back."""
    sorted_ = events.select("user", "order", "time").with_row_index("row").sort("user", "order", "time")
    back = (pl.col("user") == pl.col("user").shift()) & (pl.col("time") < pl.col("time").shift())
    found = sorted_.select(pl.col("row"), before=pl.col("row").shift(), back=back).filter("back")
    if not len(found):
        return
    row, before = found.sort("row").select("row", "before").row(0)
    others = f" ({len(found)} such rows)" if len(found) > 1 else ""
    what = f"is earlier than in row {before + 1}, which {part.order} puts before it (same user){others}"
    table.problems.error(table.file, f"{what}; mend {part.order}, or leave it out", part.time, row + 1)


def _parts(table: Table, part: EventsPart, events: pl.DataFrame) -> bool:
    """Whether each part has events; and where there are labels it must have both kinds of them."""
    times = events["time"]
    edges = borders(times.to_numpy())
    parts = _masks(times, edges)
    if not all(mask.any() for mask in parts.values()):
        what = (
            f"has too few distinct times ({times.n_unique()}) to cut the last 10 % off twice, for validation and test"
        )
        table.problems.error(table.file, f"{what}; write finer times or more events", part.time)
        return False
    if "label" in events.columns:
        for name, mask in parts.items():
            _both_kinds(table, part, f"the {name} part by time", events.filter(mask))
    return True


def _both_kinds(table: Table, part: EventsPart, name: str, events: pl.DataFrame) -> None:
    labels = events["label"]
    if labels.n_unique() == 1:
        lacks, since = "negatives" if labels[0] else "positives", events["time"].min()
        what = (
            f"{name} ({len(labels)} events from {since} on) has no {lacks}; add later events, or choose another label"
        )
        table.problems.error(table.file, what, part.label or part.value)


def _masks(times: pl.Series, edges: Borders) -> dict[str, pl.Series]:
    return {
        "training": times <= edges.train,
        "validation": (times > edges.train) & (times <= edges.validation),
        "test": times > edges.validation,
    }
