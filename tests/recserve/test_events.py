"""`recserve events` on own tables: loaded, pushed as a table of the data set's own form, shown, dropped."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from recserve.cli import main
from serving.server import ServerOptions, TritonServer
from tests.recserve.releases import SKUS, registered

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with registered(tmp_path_factory.mktemp("events")) as root:
        yield root


def said(capsys: Captured, code: int, *words: str) -> dict:
    capsys.readouterr()
    assert main([*words, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def history(capsys: Captured, models: Path, user: str) -> list[int]:
    shown = said(capsys, 0, "events", "show", user, "--dataset", "plain", "--repository", str(models), "--newest", "99")
    return [one["item"] for one in shown["events"]]


@pytest.mark.slow(20)
@pytest.mark.triton_server
def test_a_table_of_the_data_set_s_own_form_is_pushed_shown_and_dropped(
    sets: Path, tmp_path: Path, capsys: Captured
) -> None:
    models = tmp_path / "models"
    loaded = said(capsys, 0, "events", "load", "plain", "--repository", str(models))
    assert loaded["model_added"]
    before = history(capsys, models, "anna3")
    events = pl.read_parquet(sets / "plain" / "events.parquet")
    last = int(events["at"].to_numpy().max())
    new = pl.DataFrame(
        {
            "customer": ["anna3", "anna3", "anna3", "nobody yet"],
            "sku": [SKUS[0], SKUS[1], 5, SKUS[2]],
            "at": [last + 60, last + 120, last + 180, last + 60],
            "liked": [1, 0, 1, 1],
        }
    )
    with TritonServer(models, ServerOptions(log=tmp_path / "log")) as server:
        for name, frame in (("new.parquet", new), ("again.csv", new)):
            path = tmp_path / name
            frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
            told = said(capsys, 1, "events", "push", str(path), "--dataset", "plain", "--url", server.url)
            what = "applied" if name == "new.parquet" else "duplicate"
            assert told["counts"] == {what: 2, "refused": 1}, "what was not liked is no history"
            assert told["refused"] == [{"user": "anna3", "item": "5", "why": "refused: item_id 5 is no item of plain"}]
        assert history(capsys, models, "anna3") == [SKUS[0], *before]
        assert history(capsys, models, "nobody yet") == [SKUS[2]]
    assert main(["events", "show", "anna3", "--dataset", "plain", "--repository", str(models)]) == 0
    assert "A thing with a title" in capsys.readouterr().out
    assert said(capsys, 0, "events", "show", "--repository", str(models))["histories"] > 2
    dropped = said(capsys, 0, "events", "drop", "plain", "--user", "anna3", "--repository", str(models))
    assert dropped["dropped"] == 1
    assert history(capsys, models, "anna3") == []
    assert said(capsys, 0, "events", "drop", "plain", "--repository", str(models))["dropped"] > 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["show"], "say which histories: --repository DIR, or --histories URL"),
        (["show", "1", "--histories", "lmdb:///x"], "say of which data set: --dataset NAME"),
        (["show", "--histories", "redis://x"], "names no store of histories"),
        (["show", "--histories", "valkey://127.0.0.1:9/0"], "is a Valkey running there"),
        (["load", "plain", "--most", "0", "--histories", "lmdb:///x"], "--most is 0; it must be at least 1"),
        (["load", "nothing", "--histories", "lmdb:///x"], "nothing"),
        (["follow", "kafka://x", "--dataset", "plain"], "names no stream of events"),
        (["push", "nothing.parquet", "--dataset", "plain"], "is no file"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(sets: Path, words: list[str], why: str, capsys: Captured) -> None:
    assert main(["events", *words]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"customer": ["anna3"], "sku": [SKUS[0]], "liked": [1]}, "has no column time"),
        ({"customer": ["anna3"], "sku": [SKUS[0]], "at": ["noon"], "liked": [1]}, "column 'time', row 1"),
        ({"customer": ["anna3"], "sku": [SKUS[0]], "at": [1_700_000_000], "liked": [3]}, "column 'label', row 1"),
        ({"customer": ["anna3"], "at": [1], "liked": [1]}, "has no column item"),
    ],
)
def test_a_table_that_is_none_is_refused_by_column_and_row(
    sets: Path, columns: dict, why: str, tmp_path: Path, capsys: Captured
) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "new.parquet")
    assert main(["events", "push", str(tmp_path / "new.parquet"), "--dataset", "plain", "--url", "127.0.0.1:9"]) == 2
    assert why in capsys.readouterr().err
