"""Raw ids, any int64 or text: they are compared, sorted and looked up, never added, multiplied or made floats."""

import numpy as np
import polars as pl

from serving.ids import IdMap


def whole_numbers(column: pl.Series) -> np.ndarray:
    """int64 [N]. Raises ValueError for anything else: an id that went through a float is another one."""
    if not column.dtype.is_integer() or column.null_count():
        found = f"{column.dtype} with {column.null_count()} nulls"
        raise ValueError(f"column '{column.name}' is {found}; give it a whole number in each row")
    values = column.to_numpy()
    if len(values) and values.max() > np.iinfo(np.int64).max:
        raise ValueError(f"column '{column.name}' holds {values.max()}, beyond int64; map its ids to smaller ones")
    return values.astype(np.int64)


def id_map(column: pl.Series) -> IdMap:
    """The map of a column of raw ids, whole numbers or strings, to dense ids by ascending raw id.

    Raises ValueError, naming the column, for another type, nulls, and ids that no client can send.
    """
    if column.dtype == pl.String:
        if column.null_count():
            raise ValueError(f"column '{column.name}' has {column.null_count()} nulls; give it an id in each row")
        ids = column.unique().sort().to_numpy().astype(object)
    elif column.dtype.is_integer():
        ids = np.unique(whole_numbers(column))
    else:
        raise ValueError(f"column '{column.name}' is {column.dtype}; ids are whole numbers or strings: cast it")
    try:
        return IdMap(ids=ids)
    except ValueError as error:
        raise ValueError(f"column '{column.name}': {error}") from error


def table_rows(name: str, ids: np.ndarray, size: int) -> np.ndarray:
    """The ids, int64 [N], where they number the rows of a table. Raises ValueError where one is outside 0 to size - 1.

    numpy would read a negative one from the table's end, and a table for a large one takes all memory.
    """
    if len(ids) and not (ids.min() >= 0 and ids.max() < size):
        raise ValueError(f"{name} ids range over {ids.min()} to {ids.max()}; map them to 1 to {size - 1} first")
    return ids
