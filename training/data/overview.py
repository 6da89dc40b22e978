"""A data set in figures: how much of it there is, how long histories are, how much of the last part is new."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from training.data.click import NEEDS
from training.data.folder.parts import borders
from training.data.folder.times import ticks
from training.interactions import Interactions
from training.needs import lacking
from training.schema import Field, size_of

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@dataclass(frozen=True, kw_only=True)
class LastPart:
    """The last 10 % of the events in time."""

    task: str | None
    """Whose test part that is; None where click prediction cannot use the set. Other tasks split in other ways."""
    events: int
    cold_users: float
    """Share of its users without an event in the first 80 %."""
    cold_items: float
    """Share of its items likewise."""
    cold_user_events: float
    """Share of its events with such a user."""
    cold_item_events: float
    """Share of its events with such an item."""
    positives: float | None


@dataclass(frozen=True, kw_only=True)
class FieldOverview:
    """One field."""

    name: str
    role: str
    kind: str
    uses: tuple[str, ...]
    size: int | None
    """Number of values, the unknown one aside."""
    missing: float | None
    """Share of the users, items or events without a value; None for keys."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Of all events."""

    name: str
    licence: str
    events: int
    users: int
    """Those that are known, with and without events."""
    items: int
    users_with_events: int
    items_with_events: int
    first: int | None
    """Time of the first event, Unix seconds; None without times."""
    last: int | None
    histories: dict[str, int]
    """Events of a user who has some, by quantile."""
    positives: float | None
    """Share of the events; None without labels, where all are positives."""
    test: LastPart | None
    """None without times."""
    fields: tuple[FieldOverview, ...]


def overview(data: Interactions) -> Overview:
    """All figures of a data set."""
    events = data.events
    per_user = events.group_by("user").len()["len"].to_numpy()
    timed = "time" in events.columns
    seconds = events["time"] // ticks(events["time"]) if timed else pl.Series([0])
    lengths = np.quantile(per_user, QUANTILES, method="inverted_cdf").tolist()
    return Overview(
        name=data.name,
        licence=data.licence,
        events=len(events),
        users=size_of(data.schema.key("user")) - 1,
        items=size_of(data.schema.key("item")) - 1,
        users_with_events=len(per_user),
        items_with_events=events["item"].n_unique(),
        first=int(seconds.to_numpy().min()) if timed else None,
        last=int(seconds.to_numpy().max()) if timed else None,
        histories={_percent(share): length for share, length in zip(QUANTILES, lengths, strict=True)},
        positives=_positives(events),
        test=_last_part(data) if timed else None,
        fields=tuple(_field(data, field) for field in data.schema.fields),
    )


def _percent(share: float) -> str:
    return {0.0: "least", 0.5: "median", 1.0: "most"}.get(share, f"{share:.0%}")


def _positives(events: pl.DataFrame) -> float | None:
    return float(events["label"].to_numpy().mean()) if "label" in events.columns else None


def _last_part(data: Interactions) -> LastPart | None:
    events = data.events
    edges = borders(events["time"].to_numpy())
    train, test = events.filter(pl.col("time") <= edges.train), events.filter(pl.col("time") > edges.validation)
    if not len(test):
        return None
    cold = {name: ~test[name].is_in(train[name].unique().implode()) for name in ("user", "item")}
    distinct = {name: test.filter(cold[name])[name].n_unique() / test[name].n_unique() for name in cold}
    return LastPart(
        task=None if lacking(data, NEEDS) else "click",
        events=len(test),
        cold_users=distinct["user"],
        cold_items=distinct["item"],
        cold_user_events=int(cold["user"].sum()) / len(test),
        cold_item_events=int(cold["item"].sum()) / len(test),
        positives=_positives(test),
    )


def _field(data: Interactions, field: Field) -> FieldOverview:
    missing = None
    frame = {"user": data.users, "item": data.items, "event": data.events}[field.role]
    name = "value" if "value" in field.uses else field.name
    if name in frame.columns:
        values = frame[name] if field.role == "event" else frame[name][1:]
        missing = _missing(values, field)
    # The 0 of a label is no unknown value.
    size = None if field.cardinality is None else field.cardinality - (not _is_flag(field))
    return FieldOverview(name=field.name, role=field.role, kind=field.kind, uses=field.uses, size=size, missing=missing)


def _is_flag(field: Field) -> bool:
    return bool({"label", "objective"} & {*field.uses})


def _missing(values: pl.Series, field: Field) -> float | None:
    """None where 0 is a value as well."""
    if _is_flag(field):
        return None
    if field.kind == "dense":
        absent = values.is_nan() if values.dtype.is_float() else values.is_null()
    elif field.kind == "id":
        absent = values == 0
    elif field.kind == "multi":
        absent = values.list.len() == 0
    else:
        absent = values == ""
    return float(absent.sum() / len(values)) if len(values) else None
