"""Labels, objectives, values and given parts of events."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from training.data.folder.dense import numbers
from training.data.folder.description import Rule
from training.data.folder.problems import Column
from training.schema import PARTS, UNKNOWN

MOST_CODES = 32
"""Distinct values that get a code each."""
BUCKETS = 16
"""Of equal frequency, where there are more."""
_FLAGS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


class Codes(NamedTuple):
    """Values of events as ids."""

    codes: pl.Series
    """int64, 1 to V by ascending value."""
    names: tuple[str, ...]
    """By code, "unknown" first."""


def flags(column: Column) -> pl.Series | None:
    """float32, 0 or 1; None, with the problem told, for anything else."""
    values = column.values
    if column.refuse(values.is_null(), "is empty", "write 0 or 1, or leave the row out"):
        return None
    if values.dtype == pl.Boolean:
        return values.cast(pl.Float32)
    if values.dtype == pl.String:
        found = values.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Float32)
    elif values.dtype.is_numeric():
        found = values.cast(pl.Float64).cast(pl.Float32)
        found = found.set(~found.is_in([0.0, 1.0]), None)
    else:
        column.error(f"holds {values.dtype}; it must be 0 or 1", 1)
        return None
    remedy = "write 0 or 1, or name the column as value with a rule such as positive = '>= 4'"
    return None if column.refuse(found.is_null(), "is {value}", remedy) else found


def given_parts(column: Column) -> pl.Series | None:
    """int64 ids of `PARTS`; None, with the problem told, for anything else."""
    remedy = f"write {', '.join(PARTS[1:-1])} or {PARTS[-1]}"
    if column.refuse(column.values.is_null(), "is empty", remedy):
        return None
    ids = {name: number for number, name in enumerate(PARTS) if number}
    found = column.values.cast(pl.String).replace_strict(ids, default=None, return_dtype=pl.Int64)
    return None if column.refuse(found.is_null(), "is {value}", remedy) else found


def refuse_constant(column: Column, found: pl.Series, rule: Rule | None) -> bool:
    """Whether a label says the same of every event."""
    if found.n_unique() > 1:
        return False
    always = int(found[0])
    if rule:
        bound = f"{rule.sign} {rule.bound:g}"
        low, high = column.values.min(), column.values.max()
        column.error(f"the rule '{bound}' makes every label {always} (values {low} to {high}); choose another bound")
    else:
        remedy = "leave label out if all events are positives" if always else "nothing can be learnt from it"
        column.error(f"is {always} in every row; {remedy}")
    return True


def measured(column: Column) -> pl.Series | None:
    """float64 values, one in each row; None, with the problem told, where there is none."""
    if column.refuse(column.values.is_null(), "is empty", "give each event a value, or leave the row out"):
        return None
    found = numbers(column, "values are numbers")
    if found is None or column.refuse(~found.is_finite(), "is {value}", "give each event a finite number"):
        return None
    return found


def labels_of(values: pl.Series, rule: Rule) -> pl.Series:
    """float32, 1 where the rule holds."""
    comparisons = {
        "<": values.__lt__,
        "<=": values.__le__,
        "==": values.__eq__,
        ">": values.__gt__,
        ">=": values.__ge__,
    }
    return comparisons[rule.sign](rule.bound).cast(pl.Float32)


def codes(values: pl.Series, fitted_on: np.ndarray) -> Codes:
    """Codes of float64 values. Up to 32 distinct ones are told apart; more are put into at most 16 buckets of equal
    frequency among the events `fitted_on` (places, int64). A bucket ends with its upper border."""
    distinct = values.unique().sort().to_numpy()
    if len(distinct) <= MOST_CODES:
        found = 1 + np.searchsorted(distinct, values.to_numpy())
        return Codes(pl.Series(found, dtype=pl.Int64), (UNKNOWN, *(f"{one:.9g}" for one in distinct)))
    shares = np.arange(1, BUCKETS) / BUCKETS
    borders = np.unique(np.quantile(values.to_numpy()[fitted_on], shares, method="inverted_cdf"))
    found = 1 + np.searchsorted(borders, values.to_numpy())
    low, high = f"up to {borders[0]:.9g}", f"over {borders[-1]:.9g}"
    between = [f"over {a:.9g} to {b:.9g}" for a, b in pairwise(borders)]
    return Codes(pl.Series(found, dtype=pl.Int64), (UNKNOWN, low, *between, high))
