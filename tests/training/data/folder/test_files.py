"""Files that are not what their names say, CSV that is not even, files that are missing."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.training.data.folder.tables import Shop
from training.data.folder.build import inspect
from training.data.folder.template import propose
from training.interactions import silent


def errors(folder: Path) -> list[str]:
    return [str(one) for one in inspect(folder, None, silent).problems.errors]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return Shop(ending=".csv").write(tmp_path / "shop")


def edit(path: Path, line: int, text: str) -> None:
    """Line 0 is the header."""
    lines = path.read_text().split("\n")
    lines[line] = text
    path.write_text("\n".join(lines))


GOOD = "u00003,288230376151711747,1700000360,4,home,1,0,desk"


def test_a_good_line_in_its_place_is_no_problem(csv: Path) -> None:
    edit(csv / "events.csv", 7, GOOD)
    assert errors(csv) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            GOOD.replace(",", ";"),
            "events.csv, row 7: has 1 of the header's 8 fields "
            "('u00003;288230376151711747;1700000360;4;home;1;0;desk'); "
            "it is separated by ';', the header by ','",
        ),
        (f"{GOOD},more", f"events.csv, row 7: has 9 of the header's 8 fields ('{GOOD},more'); mend the row"),
        ("u00003,4", "events.csv, row 7: has 2 of the header's 8 fields ('u00003,4'); mend the row"),
        ("", "events.csv, row 7: is an empty line; take it out"),
    ],
    ids=["another separator", "too long", "too short", "empty"],
)
def test_an_uneven_row_is_named(csv: Path, text: str, line: str) -> None:
    edit(csv / "events.csv", 7, text)
    assert errors(csv) == [line]


def test_a_row_with_an_empty_last_field_is_even(csv: Path) -> None:
    edit(csv / "events.csv", 7, GOOD.removesuffix("desk"))
    assert errors(csv) == []


def test_a_file_with_another_separator_says_which(csv: Path) -> None:
    path = csv / "events.csv"
    path.write_text(path.read_text().replace(",", ";"))
    assert errors(csv) == ["events.csv: is separated by ';', not by ','; set separator in schema.toml"]


def test_a_column_that_is_there_twice_is_named(csv: Path) -> None:
    edit(csv / "users.csv", 0, "customer_id,country,country")
    assert errors(csv) == [
        "users.csv, column 'country': is there twice; rename one of them",
        "users.csv, column 'age': is not there, but schema.toml names it; "
        "there are: customer_id, country, country_duplicated_0",
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"customer_id,sku\nu1,2\n"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    folder = Shop().write(tmp_path / "shop")
    (folder / "events.parquet").write_bytes(content)
    (line,) = errors(folder)
    assert line.startswith("events.parquet: cannot be read as Parquet (")
    assert line.endswith("); write it again, or give it the right ending")


def test_a_damaged_parquet_file_is_named_whatever_the_reader_does(tmp_path: Path) -> None:
    folder = Shop().write(tmp_path / "shop")
    path = folder / "events.parquet"
    content = path.read_bytes()
    # Among these bytes of the first page's head is one over which Polars panics.
    for place in range(124, 136):
        path.write_bytes(content[:place] + b"\1" + content[place + 1 :])
        found = inspect(folder, None, silent)
        assert found.interactions or found.problems.errors
        with suppress(ValueError):
            assert "[events]" in propose(folder)


@pytest.mark.parametrize(
    "content", [b"", b"customer_id,sku\n\xff\xfe,1\n", b"PAR1\x00\x01"], ids=["empty", "latin", "binary"]
)
def test_a_file_that_is_no_csv_is_named(csv: Path, content: bytes) -> None:
    (csv / "events.csv").write_bytes(content)
    (line, *_) = errors(csv)
    assert line.startswith("events.csv")


def test_quoted_fields_may_hold_separators_and_new_lines(csv: Path) -> None:
    edit(csv / "items.csv", 1, '288230376151711747,0.0,b0,red,"a thing,\nlarge"')
    assert errors(csv) == []
    found = inspect(csv, None, silent).interactions
    assert found is not None
    assert found.titles[1] == "a thing,\nlarge"


def test_a_byte_order_mark_is_no_part_of_the_first_name(csv: Path) -> None:
    path = csv / "events.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert errors(csv) == []


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    folder = Shop().write(tmp_path / "shop")
    for name in ("events", "users"):
        (folder / f"{name}.parquet").unlink()
    assert errors(folder) == [
        f'{name}: {folder} has no {name}.parquet or {name}.csv; add it, or name it with file = "..." under [{name}]'
        for name in ("events", "users")
    ]


def test_two_files_for_one_table_are_named(csv: Path) -> None:
    Shop().write(csv)
    (csv / "items.parquet").unlink()
    (csv / "users.csv").unlink()
    assert errors(csv) == [
        "events.parquet: events.parquet and events.csv are both there; say which: "
        'file = "events.parquet" under [events]'
    ]
