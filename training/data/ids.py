"""Raw ids: any int64. They are compared, sorted and looked up, never added, multiplied or turned into floats."""

import numpy as np
import polars as pl


def whole_numbers(column: pl.Series) -> np.ndarray:
    """int64 [N]. Raises ValueError for anything else: an id that went through a float is another one."""
    if not column.dtype.is_integer() or column.null_count():
        found = f"{column.dtype} with {column.null_count()} nulls"
        raise ValueError(f"column '{column.name}' is {found}; give it a whole number in each row")
    values = column.to_numpy()
    if len(values) and values.max() > np.iinfo(np.int64).max:
        raise ValueError(f"column '{column.name}' holds {values.max()}, beyond int64; map its ids to smaller ones")
    return values.astype(np.int64)


def table_rows(name: str, ids: np.ndarray, size: int) -> np.ndarray:
    """The ids, int64 [N], where they number the rows of a table. Raises ValueError where one is outside 0 to size - 1.

    numpy would read a negative one from the table's end, and a table for a large one takes all memory.
    """
    if len(ids) and not (ids.min() >= 0 and ids.max() < size):
        raise ValueError(f"{name} ids range over {ids.min()} to {ids.max()}; map them to 1 to {size - 1} first")
    return ids
