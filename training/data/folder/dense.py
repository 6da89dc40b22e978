"""Numbers of users, items and events. They stay as they are: what scales them is fitted on the training part."""

import polars as pl

from training.data.folder.problems import Column
from training.schema import LARGEST

_EXACT = 2**53


def numbers(column: Column, remedy: str) -> pl.Series | None:
    """float64, null where there is nothing; None, with the problem told, for what is no number."""
    values = column.values
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return values.cast(pl.Float64)
    if values.dtype != pl.String:
        column.error(f"holds {values.dtype}; {remedy}", 1)
        return None
    found = values.str.strip_chars().cast(pl.Float64, strict=False)
    return None if column.refuse(found.is_null() & values.is_not_null(), "is {value}, no number", remedy) else found


def dense(column: Column) -> pl.Series | None:
    """float32, NaN where there is nothing; None, with the problem told, where it is beyond `LARGEST`."""
    found = numbers(column, "write numbers with a decimal point, or give the field another kind")
    if found is None:
        return None
    if column.refuse(
        found.fill_nan(None).abs() > LARGEST,
        f"is {{value}}, beyond {LARGEST:.0e}",
        "write a smaller number, or nothing where it is not known",
    ):
        return None
    single = found.cast(pl.Float32)
    nan = single.is_nan().fill_null(False)
    single = single.fill_null(float("nan"))
    if single.is_nan().all():
        column.warn("has no number in any row; take the field out")
    elif nan.any():
        column.warn(f"is NaN ({int(nan.sum())} such rows), read as missing", int(nan.arg_max() or 0) + 1)
    return single


def whole(column: Column, remedy: str) -> pl.Series | None:
    """int64 of whole numbers, null where there is nothing; also of floats that are some, as tables have them where
    values are missing. None, with the problem told, for another type, and beyond an int64 or what a float can tell."""
    values = column.values
    if values.dtype.is_integer() or values.dtype == pl.Null:
        found = values.cast(pl.Int64, strict=False)
    elif values.dtype.is_float():
        values = values.fill_nan(None)
        found = values.cast(pl.Int64, strict=False)
        exact = (found.cast(pl.Float64) == values.cast(pl.Float64)) & (found.abs() < _EXACT)
        found = found.set(~exact.fill_null(False), None)
    elif values.dtype == pl.String:
        found = values.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
    else:
        column.error(f"holds {values.dtype}; {remedy}", 1)
        return None
    what = "is {value}, no whole number" + " of 64 bits with a sign" * values.dtype.is_integer()
    return None if column.refuse(found.is_null() & values.is_not_null(), what, remedy) else found
