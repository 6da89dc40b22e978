"""Runs of own tables that changed since: what is refused, what is told, and what goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recserve import results
from recserve.cli import main
from tests.recserve.releases import registered, tables
from training import checkpoint
from training.data.folder.registry import register

Captured = pytest.CaptureFixture[str]
SIZES = ["--config.dim", "4", "--config.hidden", "4", "4"]


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """The folder of the data set `shop`: lists of one colour, two labels, an event every ten minutes for six days."""
    with registered(tmp_path / "sets"):
        folder = tables(tmp_path / "shop")
        change(folder, "items", lambda items: items.with_columns(colours=pl.Series([["red"], ["blue"]] * 40)))
        place = pl.int_range(pl.len())
        spread = 1_700_000_000 + 600 * place
        change(folder, "events", lambda events: events.with_columns(at=spread, bought=(place % 5 == 0).cast(int)))
        said = (folder / "schema.toml").read_text()
        (folder / "schema.toml").write_text(said.replace("[items.fields]\n", '[items.fields]\ncolours = "multi"\n'))
        register("shop", folder)
        yield folder


def change(folder: Path, table: str, how: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = folder / f"{table}.parquet"
    how(pl.read_parquet(path)).write_parquet(path)


def one_more(events: pl.DataFrame) -> pl.DataFrame:
    """The last event again, a minute later."""
    return pl.concat([events, events[-1:].with_columns(at=pl.col("at") + 60)])


def longer_list(items: pl.DataFrame) -> pl.DataFrame:
    lists = items["colours"].to_list()
    return items.with_columns(colours=pl.Series([["red", "blue"], *lists[1:]]))


def trained(capsys: Captured, root: Path, *words: str) -> Path:
    capsys.readouterr()
    assert main(["train", *words, "--dataset", "shop", "--max-epochs", "1", "--runs", str(root), "--json"]) == 0
    return Path(json.loads(capsys.readouterr().out)["runs"][0])


def refused(capsys: Captured, *words: object) -> str:
    capsys.readouterr()
    assert main([*map(str, words)]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err


def test_a_longer_list_which_would_shift_the_columns_behind_it_is_refused(
    shop: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = trained(capsys, tmp_path / "runs", "deepfm", *SIZES)
    change(shop, "items", longer_list)
    said = refused(capsys, "evaluate", run)
    assert f"{run} was trained on another shop than the one here" in said
    assert "mean something else: colours (width); train it again: recserve train deepfm --overwrite" in said


def test_another_column_of_labels_is_refused_and_the_same_rule_is_not(
    shop: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = trained(capsys, tmp_path / "runs", "deepfm", *SIZES)
    schema = shop / "schema.toml"
    schema.write_text(schema.read_text().replace('label = "liked"', 'label = "bought"'))
    for words in (("evaluate", run), ("export", run, "--repository", tmp_path / "models")):
        assert "would mean something else: label (source); train it again" in refused(capsys, *words)
    said = refused(capsys, "train", "deepfm", *SIZES, *_again(tmp_path), "--resume")
    assert "the run has another schema, in label (source); give it the tables that it had" in said


def _again(root: Path) -> list[str]:
    return ["--dataset", "shop", "--max-epochs", "1", "--runs", str(root / "runs")]


def test_new_events_are_told_in_a_line_and_a_resumed_training_refuses_them(
    shop: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = trained(capsys, tmp_path / "runs", "deepfm", *SIZES)
    assert main(["evaluate", str(run)]) == 0
    assert capsys.readouterr().err == ""
    change(shop, "events", one_more)
    assert main(["evaluate", str(run)]) == 0
    told = f"warning: {run} was trained on another shop than the one here: 900 events, now 901\n"
    assert capsys.readouterr().err == told
    said = refused(capsys, "train", "deepfm", *SIZES, *_again(tmp_path), "--resume")
    assert f"cannot resume {run}: shop had 900 events, now 901; give it the tables that it had, or train anew" in said


def test_events_after_the_day_of_a_run_change_nothing(shop: Path, tmp_path: Path, capsys: Captured) -> None:
    run = trained(capsys, tmp_path / "runs", "deepfm", *SIZES, "--until", "2023-11-20")
    names = pl.Series([f"new{n}" for n in range(2)])
    change(shop, "events", lambda events: pl.concat([events, events[-2:].with_columns(customer=names)]))
    assert main(["evaluate", str(run)]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_of_other_tables_is_not_built_on(shop: Path, tmp_path: Path, capsys: Captured) -> None:
    vectors = trained(capsys, tmp_path / "runs", "sasrec")
    change(shop, "events", one_more)
    again = shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    trained(capsys, again, "mmq2")
    assert main(["train", "mmq2", *_again(tmp_path)]) == 0
    told = f"warning: {vectors} was trained on another shop than the one here: 900 events, now 901\n"
    assert told in capsys.readouterr().err
    change(shop, "events", lambda events: events.with_columns(customer=pl.col("customer").replace("anna3", "zoe")))
    said = refused(capsys, "train", "mmq2", *_again(tmp_path), "--overwrite")
    assert f"{vectors} was trained on another shop than the one here" in said
    assert "user_id (cardinality, ids); train it again: recserve train sasrec --overwrite" in said


def test_a_run_does_not_start_from_itself_nor_from_another_systems(tmp_path: Path, capsys: Captured) -> None:
    options = ["--dataset", "planted-clicks", "--max-epochs", "1", "--runs", str(tmp_path / "runs"), "--json"]
    assert main(["train", "fm", *SIZES[:2], *options]) == 0
    run = Path(json.loads(capsys.readouterr().out)["runs"][0])
    before = (run / "run.json").read_bytes()
    for how in (["--overwrite"], ["--resume"], [], ["--overwrite", "--seeds", "2"]):
        said = refused(capsys, "train", "fm", *SIZES[:2], *options, "--init-from", run, *how)
        assert f"--init-from {run} is the folder that the new run would go to; name other --runs or another --s" in said
    said = refused(capsys, "train", "autoint", *options, "--init-from", run)
    assert f"--init-from {run} is a run of fm on planted-clicks, not of autoint" in said
    assert (run / "run.json").read_bytes() == before
    assert main([*map(str, ("train", "fm", *SIZES[:2], *options, "--init-from", run, "--seed", 1))]) == 0


@pytest.mark.parametrize("words", [("--until", "2020-01-01"), ("--init-from", "runs/fm/a"), ("torchrun",)])
def test_what_no_other_result_is_measured_with_is_not_recorded(
    words: tuple[str, ...], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    if words == ("torchrun",):
        monkeypatch.setenv("WORLD_SIZE", "2")
    options = () if words == ("torchrun",) else words
    said = refused(capsys, "train", "fm", "--record", "--dataset", "planted-clicks", "--runs", tmp_path, *options)
    assert f"--record publishes what all events and fresh weights give in one process; leave out {words[0]}" in said
    assert [*tmp_path.iterdir()] == []


def test_what_builds_on_a_run_that_started_from_another_one_is_not_recorded(
    shop: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    first = trained(capsys, tmp_path / "before", "sasrec")
    vectors = trained(capsys, tmp_path / "runs", "sasrec", "--init-from", str(first))
    assert checkpoint.load_info(vectors).init_from == str(first)
    said = refused(capsys, "train", "mmq2", *_again(tmp_path), "--record")
    assert f"{vectors}, which mmq2 builds on, started from {first}; name other --runs" in said
    assert not (tmp_path / "results").exists()
