"""Maps from columns of raw ids."""

import polars as pl
import pytest

from training.data.ids import id_map


def test_dense_ids_follow_the_raw_ids_in_ascending_order() -> None:
    assert id_map(pl.Series("item", [5, -3, 2**62, 5])).ids.tolist() == [-3, 5, 2**62]
    names = ["b", "\u00e9", "a", "B", "\U0001f600", "\uffff", "b"]
    assert id_map(pl.Series("item", names)).ids.tolist() == sorted(set(names))


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.Int32, pl.UInt32, pl.UInt64])
def test_small_and_unsigned_numbers_are_the_same_ids(dtype: type[pl.DataType]) -> None:
    assert id_map(pl.Series("item", [3, 1, 2], dtype=dtype)).is_identity


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pl.Series("item", ["a", None]), "column 'item' has 1 nulls"),
        (pl.Series("item", [1, None]), "column 'item' is Int64 with 1 nulls"),
        (pl.Series("item", [1.0]), "column 'item' is Float64; ids are whole numbers or strings: cast it"),
        (pl.Series("item", [True]), "column 'item' is Boolean"),
        (pl.Series("item", ["a"], dtype=pl.Categorical), "column 'item' is Categorical"),
        (pl.Series("item", [2**63], dtype=pl.UInt64), "beyond int64"),
        (pl.Series("item", ["a", ""]), "column 'item': an empty string is a raw id"),
        (pl.Series("item", ["a\0"]), "column 'item': element 0 holds a NUL"),
        (pl.Series("item", ["x" * 1025]), "column 'item': element 0 has 1025 bytes"),
        (pl.Series("item", [], dtype=pl.Int64), "column 'item': raw ids are"),
    ],
)
def test_a_column_that_is_no_ids_is_refused_by_name(column: pl.Series, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        id_map(column)
