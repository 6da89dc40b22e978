"""What `recserve data template` writes is a schema that is read, and a proposal that fits the tables."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.training.data.folder.tables import Shop
from training.data.folder.build import inspect
from training.data.folder.description import describe
from training.data.folder.problems import Problems
from training.data.folder.template import EXAMPLE, propose
from training.interactions import silent


def described(path: Path, schema: str) -> list[str]:
    (path / "schema.toml").write_text(schema)
    problems = Problems()
    describe(path, problems)
    return [str(one) for one in problems.errors]


def test_the_example_is_a_schema(tmp_path: Path) -> None:
    assert described(tmp_path, EXAMPLE) == []


def test_every_line_of_the_example_can_be_put_in_force(tmp_path: Path) -> None:
    keys = [line.removeprefix("# ") for line in EXAMPLE.split("\n") if line.startswith("# ") and " = " in line]
    assert len(keys) == 16
    for key in keys:
        schema = EXAMPLE.replace(f"# {key}", key)
        if key.startswith("concepts"):
            schema = schema[: schema.index("[items]")]
        if key.startswith("format"):
            schema = schema.replace("# file", "file")
        if key.startswith(("value", "positive")):
            schema = schema.replace("# value", "value").replace("\nlabel", "\n# label")
        assert described(tmp_path, schema) == [], key


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".tsv.gz"])
def test_a_proposal_for_good_tables_passes_the_check(tmp_path: Path, ending: str) -> None:
    folder = Shop(ending=ending).write(tmp_path / "Web Shop")
    (folder / "schema.toml").write_text(propose(folder))
    found = inspect(folder, None, silent)
    assert found.problems.errors == []
    assert found.interactions is not None
    assert found.interactions.name == "web-shop"
    columns = {field.name: field.kind for field in found.interactions.schema.fields}
    assert columns.items() >= {"price": "dense", "brand": "id", "tags": "multi", "age": "id", "country": "id"}.items()
    assert found.interactions.events.columns == ["user", "item", "time", "label"]


def test_a_proposal_knows_separators_names_that_are_no_field_names_and_keys_with_another_name(tmp_path: Path) -> None:
    shop = Shop(ending=".csv")
    folder = shop.write(tmp_path / "shop")
    shop.items.rename({"sku": "product id", "price": "Price (EUR)"}).write_csv(folder / "items.csv", separator=";")
    proposed = propose(folder)
    assert 'separator = ";"\nkey = "product id"\n' in proposed
    assert 'Price_EUR = { kind = "dense", column = "Price (EUR)" }' in proposed
    (folder / "schema.toml").write_text(proposed)
    assert inspect(folder, None, silent).problems.errors == []


def test_what_cannot_be_guessed_is_asked_for(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}).write_parquet(tmp_path / "events.parquet")
    proposed = propose(tmp_path)
    assert '# user = "..."    # which column says who?' in proposed
    assert '# item = "..."    # which column says what?' in proposed


def test_a_folder_without_events_is_told_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"has no events\.parquet or events\.csv; write one row for each event into it"
    ):
        propose(tmp_path)


def test_columns_whose_names_differ_in_signs_alone_become_two_fields(tmp_path: Path) -> None:
    pl.DataFrame({"user": [1], "item": [2], "at": [3], "label": [1]}).write_parquet(tmp_path / "events.parquet")
    pl.DataFrame({"item": [2], "size (m)": ["a"], "size m": ["b"], "size-m": ["c"]}).write_parquet(
        tmp_path / "items.parquet"
    )
    fields = tomllib.loads(propose(tmp_path))["items"]["fields"]
    assert {name: one["column"] for name, one in fields.items()} == {
        "size_m": "size (m)",
        "size_m_2": "size m",
        "size_m_3": "size-m",
    }


def proposed(tmp_path: Path, **columns: Sequence[object]) -> list[str]:
    pl.DataFrame(columns).write_parquet(tmp_path / "events.parquet")
    return propose(tmp_path).splitlines()


@pytest.mark.parametrize("rate", [1, 1_000, 1_000_000])
def test_whole_numbers_that_are_moments_are_the_time_whatever_their_name(tmp_path: Path, rate: int) -> None:
    times = [(1_700_000_000 + step) * rate for step in range(3)]
    lines = proposed(tmp_path, user=[1, 2, 3], item=[4, 5, 6], price=[7, 8, 9], created=times)
    assert 'time = "created"' in lines
    assert [line for line in lines if "price" in line] == ['# price = "id"']
    assert len([line for line in lines if "created" in line]) == 1


def test_flags_are_label_and_objectives_and_not_fields_too(tmp_path: Path) -> None:
    flags = {"right": [0, 1, 1], "hinted": [1, 0, 1]}
    lines = proposed(tmp_path, student=[1, 2, 3], question=[4, 5, 6], when=[1, 2, 3], page=["a", "b", "a"], **flags)
    assert 'label = "right"' in lines
    assert 'time = "when"' in lines
    assert [line for line in lines if "hinted" in line] == [
        '# objectives = ["hinted"]    # more columns of 0 and 1',
    ]
    assert lines[-1] == '# page = "id"'


def test_a_field_of_events_that_may_be_ids_says_so(tmp_path: Path) -> None:
    lines = proposed(tmp_path, who=[f"u{row}" for row in range(99)], item=[*range(99)], page=["a", "b", "c"] * 33)
    assert '# who = "id"    # many distinct values: if they are ids, leave it out' in lines
    assert '# page = "id"' in lines


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["a"] * 40 + ["a|b"], "multi"),
        (["a"] + ["b|a", "c|b"] * 20, "multi"),
        (["a"] * 41, "id"),
        ([f"part {row}" for row in range(39)] + ["one | two", "three | four"], "id"),
    ],
)
def test_a_text_holds_several_values_where_their_parts_recur_or_most_rows_have_them(
    tmp_path: Path, texts: list[str], kind: str
) -> None:
    assert f'# tags = "{kind}"' in proposed(tmp_path, user=[*range(41)], item=[*range(41)], tags=texts)
