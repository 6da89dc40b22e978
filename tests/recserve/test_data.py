"""`recserve data` over a team's own tables: check, add, describe, template, list, remove."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from recserve.cli import main
from recserve.commands.command import Command
from recserve.commands.data.add import Add
from recserve.commands.data.check import Check
from recserve.commands.data.describe import Describe
from recserve.commands.data.listing import List
from recserve.commands.data.remove import Remove
from recserve.commands.data.template import Template
from tests.training.data.folder.tables import NUM_EVENTS, Shop
from training import datasets
from training.data.folder.registry import registered

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of own data sets that is this test's alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RECSERVE_CACHE", str(folder))
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Shop().write(tmp_path / "shop")


def run_json(capsys: Captured, command: Command, code: int = 0) -> Any:
    assert command.run() == code
    return json.loads(capsys.readouterr().out)


def test_a_folder_that_was_added_is_a_data_set_by_its_name(shop: Path, capsys: Captured) -> None:
    found = run_json(capsys, Add(folder=shop, json=True))
    assert found["errors"] == found["warnings"] == []
    lacks = {task: state["lacks"] for task, state in found["tasks"].items()}
    assert lacks == {
        "click": [],
        "next_item": [],
        "semantic_ids": [],
        "retrieval": [],
        "tracing": ["concepts of items"],
    }
    assert registered() == {"shop": shop.resolve()}
    assert len(datasets.read("shop").events) == NUM_EVENTS


def test_a_system_that_needs_more_than_its_task_says_so_to_check_and_before_training(
    shop: Path, tmp_path: Path, capsys: Captured
) -> None:
    what = "events without fields of their own"
    assert run_json(capsys, Add(folder=shop, json=True))["systems"] == {"matt": {"can_use": False, "lacks": [what]}}
    assert Check(folder=shop).run() == 0
    assert f"matt         lacks {what}: add a copy of them with no [events.fields]" in capsys.readouterr().out
    assert main(["train", "matt", "--dataset", "shop", "--runs", str(tmp_path / "runs")]) == 2
    said = "error: shop cannot be used for matt: it lacks events without fields of their own; own tables: add a copy"
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "runs").exists()


def test_a_relative_path_is_registered_as_an_absolute_one(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.parent)
    assert Add(folder=Path("shop")).run() == 0
    assert registered() == {"shop": shop.resolve()}


def test_a_broken_folder_is_not_added_and_leaves_nothing_behind(shop: Path, cache: Path, capsys: Captured) -> None:
    before = sorted(shop.iterdir())
    Shop().put("events", "at", 2, None).write(shop)
    found = run_json(capsys, Add(folder=shop, json=True), code=1)
    (error,) = found["errors"]
    assert error["line"].startswith("events.parquet, column 'at', row 2: has no time")
    assert (error["table"], error["column"], error["row"]) == ("events.parquet", "at", 2)
    assert found["tasks"] is None
    assert sorted(shop.iterdir()) == before
    assert not cache.exists()


def test_a_folder_that_breaks_after_it_was_added_stays_added_as_it_was(shop: Path, capsys: Captured) -> None:
    assert Add(folder=shop).run() == 0
    Shop().put("events", "at", 2, None).write(shop)
    assert Add(folder=shop).run() == 1
    assert "shop was not added" in capsys.readouterr().out
    assert registered() == {"shop": shop.resolve()}
    with pytest.raises(ValueError, match=r"^events\.parquet, column 'at', row 2: has no time"):
        datasets.read("shop")


def test_the_name_of_a_built_in_set_is_refused(tmp_path: Path) -> None:
    folder = Shop().say('name = "shop"', 'name = "ml-100k"').write(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"^'ml-100k' is a built-in data set; choose another name in .*schema\.toml$"):
        Add(folder=folder).run()
    assert registered() == {}


def test_a_check_says_of_a_name_what_adding_would_say(shop: Path, tmp_path: Path, capsys: Captured) -> None:
    built_in = Shop().say('name = "shop"', 'name = "ml-100k"').write(tmp_path / "mine")
    (error,) = run_json(capsys, Check(folder=built_in, json=True), code=1)["errors"]
    assert error["line"].startswith("schema.toml: 'ml-100k' is a built-in data set; choose another name in ")
    assert Check(folder=built_in).run() == 1
    assert "no errors" not in capsys.readouterr().out
    assert Add(folder=shop).run() == Check(folder=shop).run() == 0
    assert "warning" not in capsys.readouterr().out
    other = Shop().write(tmp_path / "other")
    (warning,) = run_json(capsys, Check(folder=other, json=True))["warnings"]
    assert warning["line"].startswith(f"schema.toml: 'shop' is {shop} already; ")


def test_adding_a_folder_again_says_so_and_another_name_is_another_set(shop: Path, capsys: Captured) -> None:
    for said in ("shop is added; ", "shop was added before, and still is; "):
        assert Add(folder=shop / ".." / "shop").run() == 0
        assert said in capsys.readouterr().out
    assert Add(folder=Shop().say('"shop"', '"second"').write(shop)).run() == 0
    assert registered() == {"second": shop.resolve(), "shop": shop.resolve()}


def test_another_folder_takes_a_name_only_where_it_is_told_to_or_the_first_one_is_gone(
    shop: Path, tmp_path: Path
) -> None:
    other = Shop().write(tmp_path / "other")
    assert Add(folder=shop).run() == 0
    line = f"'shop' is {shop} already; choose another name in {other / 'schema.toml'}, or say --replace"
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        Add(folder=other).run()
    assert registered() == {"shop": shop.resolve()}
    assert Add(folder=other, replace=True).run() == 0
    assert registered() == {"shop": other.resolve()}
    moved = other.rename(tmp_path / "moved")
    assert Add(folder=moved).run() == 0
    assert registered() == {"shop": moved.resolve()}


def test_a_folder_that_moved_or_took_another_name_is_told_in_one_line(shop: Path, tmp_path: Path) -> None:
    assert Add(folder=shop).run() == 0
    Shop().say('"shop"', '"renamed"').write(shop)
    with pytest.raises(ValueError, match="was added as 'shop' and now calls itself 'renamed'; add it again"):
        datasets.dataset("shop")
    shop.rename(tmp_path / "moved")
    with pytest.raises(
        ValueError, match=r"data set 'shop' was in .*, which is gone; add the folder again where it is now"
    ):
        datasets.dataset("shop")


def test_an_unknown_name_lists_the_names_there_are(shop: Path) -> None:
    assert Add(folder=shop).run() == 0
    with pytest.raises(
        ValueError, match=r"no data set is called 'shopp'; there are: .*shop; `recserve data add FOLDER`"
    ):
        datasets.dataset("shopp")


def test_a_set_that_was_removed_is_gone_and_its_files_are_not(shop: Path) -> None:
    assert Add(folder=shop).run() == Remove(name="shop").run() == 0
    assert registered() == {}
    assert (shop / "events.parquet").is_file()
    with pytest.raises(ValueError, match="no own data set is called 'shop'"):
        Remove(name="shop").run()


def test_what_a_built_in_set_is_and_what_shows_it_is_said_where_somebody_checks_it() -> None:
    with pytest.raises(
        ValueError, match=r"'kuairand' is a built-in .*no folder.*`recserve data describe kuairand` shows"
    ):
        Check(folder=Path("kuairand")).run()


def test_own_sets_are_listed_with_the_built_in_ones(shop: Path, capsys: Captured) -> None:
    Add(folder=shop).run()
    capsys.readouterr()
    listed = run_json(capsys, List(json=True))
    assert {"beauty", "ml-100k"} < {one["name"] for one in listed}
    assert listed[-1] == {
        "name": "shop",
        "own": True,
        "what": "own tables",
        "folder": str(shop.resolve()),
        "there": True,
    }


def test_built_in_sets_are_listed_with_their_place(capsys: Captured, tmp_path: Path, cache: Path) -> None:
    listed = run_json(capsys, List(cache=tmp_path, json=True))
    assert {"beauty", "hin-amazon", "ml-100k", "sports"} <= {one["name"] for one in listed}
    fetched, made = ([one for one in listed if (one["folder"] is None) == is_made] for is_made in (False, True))
    assert all((one["there"], one["folder"]) == (False, str(tmp_path / one["name"])) for one in fetched)
    assert {"planted-clicks", "simulated-students"} <= {one["name"] for one in made if one["there"]}
    assert {one["name"] for one in listed} >= {*datasets.DATASETS}
    folders = {one["name"]: one["folder"] for one in run_json(capsys, List(json=True))}
    assert folders["ml-100k"] == str(cache / "data" / "ml-100k")


def test_a_list_that_cannot_be_read_says_what_to_do(shop: Path, cache: Path) -> None:
    Add(folder=shop).run()
    (cache / "folders.json").write_text("{")
    with pytest.raises(ValueError, match=r"folders\.json cannot be read .*; remove it and add your folders again"):
        registered()


def test_errors_and_warnings_of_a_check_are_apart(shop: Path, capsys: Captured) -> None:
    Shop().put("events", "at", 2, None).put("events", "customer_id", 3, "U00001").write(shop)
    assert Check(folder=shop).run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "error",
        "warning",
        "warning",
        "Rows count from 1, the header of a CSV file aside.",
    ]


def test_a_check_with_warnings_alone_passes(shop: Path, capsys: Captured) -> None:
    Shop().put("events", "customer_id", 3, "U00001").write(shop)
    found = run_json(capsys, Check(folder=shop, json=True))
    assert len(found["warnings"]) == 2
    assert found["tasks"]["click"]["can_use"]


def test_a_set_is_described_by_name_and_by_folder_within_80_columns(
    shop: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    Add(folder=shop).run()
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "80")
    picture = tmp_path / "shop.png"
    assert Describe(data="shop", out=picture).run() == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "12, 12 of them with events" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run_json(capsys, Describe(data=str(shop), json=True))["events"] == NUM_EVENTS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pic.zzz", "its name must end in one of .png, .svg, .pdf"),
        ("pic", "its name must end in one of .png, .svg, .pdf"),
        ("nowhere/pic.png", "make its folder first"),
        ("folder.png", "it is a folder"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=f"^--out is {re.escape(str(tmp_path / name))}; {re.escape(said)}$"):
        Describe(data="no such data set", out=tmp_path / name)


def test_a_template_is_printed_or_written_and_never_over_another(shop: Path, capsys: Captured) -> None:
    assert Template().run() == 0
    assert capsys.readouterr().out.startswith("# What the tables of this folder hold.")
    with pytest.raises(ValueError, match="is there already; remove it, or mend it by hand"):
        Template(folder=shop).run()
    (shop / "schema.toml").unlink()
    assert Template(folder=shop).run() == 0
    assert Check(folder=shop).run() == 0


DAMAGED = {
    "truncated": ("events.parquet", lambda good: good[: len(good) // 2] + good[-400:]),
    "cut off": ("events.parquet", lambda good: good[:-10]),
    "no Parquet": ("events.parquet", lambda good: b"customer_id,sku\n"),
    "no UTF-8": ("events.csv", lambda good: b"customer_id,sku,at,stars,page,seen,bought,device\n\xff,1,2,3,4,1,0,7\n"),
    "empty": ("events.csv", lambda good: b""),
}


@pytest.mark.parametrize("words", ["template", "check", "add", "describe"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_table_is_one_line_of_every_command(shop: Path, capsys: Captured, words: str, damage: str) -> None:
    name, change = DAMAGED[damage]
    content = change((shop / "events.parquet").read_bytes())
    (shop / "events.parquet").unlink()
    (shop / name).write_bytes(content)
    if words == "template":
        (shop / "schema.toml").unlink()
    assert main(["data", words, str(shop)]) == (1 if words in ("check", "add") else 2)
    printed = capsys.readouterr()
    (line,) = [line for line in (printed.out + printed.err).splitlines() if line.startswith("error:")]
    kind = "Parquet" if name.endswith(".parquet") else "CSV in UTF-8"
    assert re.search(rf"{name}:? cannot be read as {kind} \(.+\); write it again, or give it the right ending$", line)


@pytest.mark.parametrize("words", ["template", "check", "add", "describe"])
def test_a_folder_that_is_not_there_is_one_line_of_every_command(tmp_path: Path, capsys: Captured, words: str) -> None:
    assert main(["data", words, str(tmp_path / "nowhere")]) == (1 if words == "check" else 2)
    printed = capsys.readouterr()
    (line,) = (printed.out + printed.err).splitlines()
    assert "nowhere is no folder" in line or "no data set is called" in line
