"""Times and orders of events as int64.

Whole numbers stay as they are: seconds, milliseconds, microseconds or nanoseconds since 1970 in UTC, which their size
tells. Dates, datetimes and ISO texts become seconds, or milliseconds or microseconds where some are no whole seconds;
those without a time zone are UTC.
"""

import time
from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl

from training.data.folder.dense import whole
from training.data.folder.problems import Column

_DAY = 86_400
_LARGEST = ((100_000_000_000, 1), (100_000_000_000_000, 1_000), (100_000_000_000_000_000, 1_000_000))
"""Times up to here, in ticks of so many a second: seconds up to the year 5138, milliseconds from 1973 on."""
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_REMEDY = "write whole seconds or milliseconds since 1970, or 2024-05-17T08:30:00Z"


class _Ticking(NamedTuple):
    """Times in a known unit."""

    times: pl.Series
    """int64"""
    rate: int
    """Ticks a second."""


def ticks(times: pl.Series) -> int:
    """Ticks a second of int64 times, by the size of the one in the middle: right for all but fractions of seconds
    before March 1973."""
    middle = abs(times.median() or 0)  # pyright: ignore[reportArgumentType]
    return next((rate for largest, rate in _LARGEST if middle < largest), 1_000_000_000)


def second_of(day: str) -> int:
    """The first second of a day `YYYY-MM-DD` in UTC, since 1970. Raises ValueError for what is no day."""
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"--until {day} is no day; write YYYY-MM-DD") from None


def times(column: Column) -> pl.Series | None:
    """int64 times; None, with the problem told, where a row has none or the times lie in the future."""
    if column.refuse(column.values.is_null(), "has no time", "give each event one, or leave the row out"):
        return None
    parsed = _parsed(column)
    if parsed is None:
        return None
    found, rate = parsed
    later = found > (int(time.time()) + _DAY) * rate
    unit = {1: "seconds", 1_000: "milliseconds", 1_000_000: "microseconds"}.get(rate, "nanoseconds")
    if column.refuse(later, "is {value}, in the future", f"times were read as {unit} since 1970; mend it"):
        return None
    return found


def orders(column: Column) -> pl.Series | None:
    """int64 positions; None, with the problem told, where they are none."""
    if column.refuse(column.values.is_null(), "has no order", "give each event one, or leave the row out"):
        return None
    return whole(column, "give each event a whole number")


def _parsed(column: Column) -> _Ticking | None:
    values = column.values
    if values.dtype == pl.Date:
        return _coarsest(values.cast(pl.Datetime("us")))
    if isinstance(values.dtype, pl.Datetime):
        return _coarsest(values.dt.cast_time_unit("us"))
    if values.dtype == pl.String and not values.str.contains(r"^-?[0-9]+(\.0*)?$").all():
        plain = values.str.replace("T", " ").str.replace("[zZ]$", "+00:00")
        read = [plain.str.to_datetime(form, strict=False, time_unit="us") for form in _FORMATS]
        utc = [one.dt.replace_time_zone(None) if one.dtype == pl.Datetime("us", "UTC") else one for one in read]
        found = pl.select(pl.coalesce(utc)).to_series()
        return None if column.refuse(found.is_null(), "is {value}, no time", _REMEDY) else _coarsest(found)
    found = whole(column, _REMEDY)
    return None if found is None else _Ticking(found, ticks(found))


def _coarsest(values: pl.Series) -> _Ticking:
    """Seconds, milliseconds or microseconds: the first that loses nothing."""
    micros = values.dt.epoch("us")
    for divisor in (1_000_000, 1_000):
        if (micros % divisor == 0).all():
            return _Ticking(micros // divisor, 1_000_000 // divisor)
    return _Ticking(micros, 1_000_000)
