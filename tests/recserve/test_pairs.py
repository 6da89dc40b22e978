"""A table of pairs: what it says is what a request would say, and what no request can say is refused."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recserve.pairs import dense_ids, further, read
from tests.training.data.folder.tables import SKUS, Shop
from training.data.click import FEATURES, click_data
from training.data.folder import folder
from training.interactions import Interactions, silent
from training.layers.click_context import context_specs
from training.servable import TensorSpec
from training.system import Wanted

FIELDS = 'device = "id"\nslots = { kind = "multi", width = 3 }\nshelf = "id"\nprice_then = "dense"'


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    """Events with fields of each kind: text, three texts, whole numbers and a number."""
    made = Shop().say('device = "id"', FIELDS)
    row = pl.int_range(pl.len())
    made.events = made.events.with_columns(
        slots=pl.when(row % 4 == 0).then(pl.lit("a|b|c")).otherwise(pl.lit("c")),
        shelf=10 * (1 + row % 3),
        price_then=row / 8,
    )
    return folder(made.write(tmp_path_factory.mktemp("pairs") / "shop")).read(None, silent)


@pytest.fixture(scope="module")
def specs(shop: Interactions) -> dict[str, TensorSpec]:
    data = click_data(shop, Wanted(frozenset({FEATURES}), 5, {}))
    return {one.name: one for one in context_specs(data)}


def written(folder: Path, ending: str, **columns: pl.Series) -> Path:
    size = len(next(iter(columns.values())))
    ids = {"user": pl.Series(["u00003"] * size), "item": pl.Series([SKUS[0]] * size)}
    frame, path = pl.DataFrame(ids | columns), folder / f"pairs{ending}"
    if ending == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    return path


def test_whole_numbers_as_floats_and_numbers_in_csv_are_what_they_say(
    shop: Interactions, specs: dict[str, TensorSpec], tmp_path: Path
) -> None:
    columns = {"shelf": pl.Series([20.0, None, 10.0, 15.0]), "price_then": pl.Series([0.5, None, 2.0, -3.25])}
    for ending in (".parquet", ".csv"):
        table = read(written(tmp_path, ending, **columns)).table
        assert further(table, specs["shelf"], shop)[:, 0].tolist() == [2, 0, 1, 0]
        np.testing.assert_array_equal(further(table, specs["price_then"], shop)[:, 0], [0.5, np.nan, 2.0, -3.25])


def test_several_values_are_a_list_or_a_text_and_what_lacks_is_nothing(
    shop: Interactions, specs: dict[str, TensorSpec], tmp_path: Path
) -> None:
    said, wanted = ["c|a", None, "b", "a| c |x"], [[3, 1, 0], [0, 0, 0], [2, 0, 0], [1, 3, 0]]
    lists = pl.Series([["c", "a"], [], ["b", None], ["a", "c", "x"]])
    for column, ending in ((pl.Series(said), ".csv"), (pl.Series(said), ".parquet"), (lists, ".parquet")):
        table = read(written(tmp_path, ending, slots=column)).table
        assert further(table, specs["slots"], shop).tolist() == wanted
    assert further(table, specs["device"], shop).tolist() == [[0]] * 4


def test_ids_of_csv_are_read_as_the_data_set_has_them(shop: Interactions, tmp_path: Path) -> None:
    """Text that looks like a number is text, and numbers of 62 bits stay what they are."""
    path = tmp_path / "pairs.csv"
    path.write_text(f"user,item\n00003,{SKUS[1]}\nu00003,{SKUS[1]}.0\nu00004,-5\n")
    pairs = read(path)
    assert dense_ids(pairs.table, "user", shop).tolist() == [0, 4, 5]
    assert dense_ids(pairs.table, "item", shop).tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("name", "ending", "values", "said"),
    [
        ("shelf", ".parquet", pl.Series([10.0, 10.7]), "row 2: is 10.7, no whole number; write whole numbers"),
        ("shelf", ".csv", pl.Series(["10", "10.7"]), "row 2: is '10.7', no whole number; write whole numbers"),
        ("shelf", ".csv", pl.Series(["10", "ten"]), "row 2: is 'ten', no whole number; write whole numbers"),
        ("shelf", ".csv", pl.Series(["10", "9" * 20]), "row 2: is '99999999999999999999', no whole number"),
        ("shelf", ".parquet", pl.Series([1, 2**64 - 1], dtype=pl.UInt64), "row 2: is 18446744073709551615, no whole"),
        ("shelf", ".parquet", pl.Series([2.0**60, 1.0]), "row 1: is 1.152921504606847e+18, no whole number"),
        ("shelf", ".parquet", pl.Series([[10], [10, 20]]), "row 2: has more values than a request carries ([10, 20"),
        ("slots", ".csv", pl.Series(["a", "a|b|c|a"]), "row 2: has more values than a request carries"),
        ("slots", ".parquet", pl.Series([[1], [2]]), "row 1: holds Int64, and the model takes text"),
        ("price_then", ".csv", pl.Series(["3.5", "dear"]), "row 2: is 'dear', no number"),
        ("price_then", ".parquet", pl.Series([1.0, 1e60]), "row 2: is 1e+60, beyond 9e+18"),
        ("price_then", ".csv", pl.Series(["-3.4e38", "1"]), "row 1: is '-3.4e38', beyond 9e+18"),
        ("device", ".parquet", pl.Series([True, False]), "row 1: holds Boolean, and the model takes text"),
    ],
)
def test_what_no_request_can_say_is_refused_with_its_row(
    shop: Interactions,
    specs: dict[str, TensorSpec],
    tmp_path: Path,
    name: str,
    ending: str,
    values: pl.Series,
    said: str,
) -> None:
    table = read(written(tmp_path, ending, **{name: values})).table
    with pytest.raises(ValueError, match=re.escape(f"column '{name}', {said}")):
        further(table, specs[name], shop)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".parquet", b"PAR1 nonsense PAR1"),
        (".parquet", b"user,item\nu,1\n"),
        (".parquet", b""),
        (".csv", b""),
        (".csv", b"user,item\n\xff\xfe,1\n"),
        (".csv", b"user,item\na,1,2\n"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"pairs{ending}"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"pairs\.\w+ cannot be read as .*; write it again, or give it the right ending"
    ):
        read(path)
