"""`recserve score`: a table of pairs scored without a server, as the server would; and what is no such table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from torch.nn import Identity

from recserve import runs, scoring
from recserve.cli import main
from recserve_client import Client
from serving.server import ServerOptions, TritonServer
from tests.training.data.folder.tables import SKUS, Shop
from training.servable import Servable

Captured = pytest.CaptureFixture[str]
SYSTEMS = ("deepfm", "din")
"""One graph, and an ensemble that reads histories."""
SMALL = ["--config.dim", "4", "--config.hidden", "8", "4"]
SHORT = {"din": ["--config.max-length", "12"]}
TABLE = {
    "user": ["u00003", "u00003", "nobody", "u00007", "u00007", "u00001"],
    "item": [SKUS[0], SKUS[4], SKUS[0], SKUS[2], 5, SKUS[14]],
    "page": ["home", "cart", "cart", "home", "home", None],
    "device": ["phone", "phone", "desk", "tablet", "desk", "desk"],
}
"""Raw ids of 62 bits, and text; some that the shop does not know, and a moment of which one thing is not known."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of each system, with a team's own tables in a cache of this file's own."""
    root = tmp_path_factory.mktemp("score")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSERVE_CACHE", str(root / "cache"))
        assert main(["data", "add", str(Shop().write(root / "shop"))]) == 0
        for name in SYSTEMS:
            words = ["--dataset", "shop", "--max-epochs", "1", "--runs", str(root / "runs"), "--json"]
            assert main(["train", name, *words, *SMALL, *SHORT.get(name, [])]) == 0
        yield root


def run_of(shop: Path, name: str) -> Path:
    (folder,) = (shop / "runs" / name).iterdir()
    return folder


def table(**changes: Any) -> pl.DataFrame:
    return pl.DataFrame(TABLE | changes)


def score(capsys: Captured, folder: Path, source: Path) -> pl.DataFrame:
    out = source.parent / "out" / "scores.parquet"
    capsys.readouterr()
    assert main(["score", str(folder), str(source), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    inputs, columns = found.pop("inputs_missing"), found.pop("columns_not_read")
    assert {*inputs} | {*columns} <= {"page", "device"}
    assert found == {"out": str(out), "rows": 6, "unknown": {"users": 1, "items": 1}, "system": folder.parent.name}
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return pl.read_parquet(out)


def written(frame: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    return path


@pytest.mark.slow
@pytest.mark.triton_server
@pytest.mark.parametrize("name", SYSTEMS)
def test_offline_scores_are_those_that_a_client_gets(shop: Path, tmp_path: Path, capsys: Captured, name: str) -> None:
    frame = table()
    scored = score(capsys, run_of(shop, name), written(frame, tmp_path / "pairs.parquet"))
    assert scored.drop("score").equals(frame)
    assert main(["export", str(run_of(shop, name)), "--repository", str(tmp_path / "models")]) == 0
    trained = runs.load(run_of(shop, name))
    ranker, ids = scoring.ranker(runs.models(trained)), trained.data.interactions.ids
    moment = {spec.name: spec.mapped for spec in ranker.inputs[3:]}
    assert {"page"} <= moment.keys() <= {"page", "device"}
    served, rows = [], frame.drop_nulls()
    with TritonServer(tmp_path / "models", ServerOptions(log=tmp_path / "log")) as server:
        with Client(server.url, deadline_s=30.0) as client:
            for row in frame.iter_rows(named=True):
                asked = {"user_id": [[row["user"]]], "candidates": [[row["item"]]]}
                asked |= {one: [[row[one] or ""]] for one in moment}
                served.append(client.infer(name, asked)["scores"].item())
            again = scoring.served(
                client.infer,
                ranker,
                ids["user"].dense(rows["user"].to_numpy()),
                ids["item"].dense(rows["item"].to_numpy()),
                {one: kept.dense(rows[one].to_numpy())[:, None] for one, kept in moment.items() if kept is not None},
            )
    np.testing.assert_allclose(scored["score"].to_numpy(), served, atol=1e-6)
    np.testing.assert_allclose(again, scored.drop_nulls()["score"].to_numpy(), atol=1e-6)
    assert len(set(served)) == len(served)


def test_the_moment_counts_and_a_table_without_it_is_scored_as_if_nothing_were_known(
    shop: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = run_of(shop, "deepfm")
    tables = {
        "said": table(),
        "left out": table().drop("page", "device"),
        "empty": table(page=[None] * 6, device=[None] * 6),
        "strange": table(page=["attic"] * 6, device=["loom"] * 6),
    }
    found = {
        name: score(capsys, run, written(frame, tmp_path / f"{name}.parquet"))["score"].to_numpy()
        for name, frame in tables.items()
    }
    for name in ("empty", "strange"):
        np.testing.assert_array_equal(found["left out"], found[name], err_msg=name)
    assert (np.abs(found["said"] - found["left out"]) > 1e-6).all()


def test_inputs_that_the_table_lacks_and_columns_that_nothing_reads_are_named(
    shop: Path, tmp_path: Path, capsys: Captured
) -> None:
    source = written(table().rename({"page": "pages"}), tmp_path / "pairs.parquet")
    words = ["score", str(run_of(shop, "deepfm")), str(source), "--out", str(tmp_path / "scores.parquet")]
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["not in the table, scored as missing: page", "not read: pages"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["inputs_missing"], found["columns_not_read"]) == (["page"], ["pages"])
    written(table(), source)
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_model_that_scores_no_candidates_is_refused_with_those_that_do() -> None:
    asked = Servable(
        name="dkt",
        inputs=(),
        outputs=(),
        example=lambda size, seed: (),
        eager=lambda *tensors: tensors,
        module=Identity(),
    )
    with pytest.raises(
        ValueError, match=r"'dkt' does not score candidates of a user, .* one of .*deepfm, .*din, "
    ) as raised:
        scoring.ranker((asked,))
    assert "two_tower" not in str(raised.value)


def test_a_csv_file_is_scored_alike(shop: Path, tmp_path: Path, capsys: Captured) -> None:
    one, other = (
        score(capsys, run_of(shop, "din"), written(table(), tmp_path / f"pairs{ending}"))
        for ending in (".parquet", ".csv")
    )
    assert one["score"].equals(other["score"])


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (table().drop("item"), "has no column item; it has user, page, device"),
        (table().head(0), "has no rows"),
        (table(user=["u00003", None, *["u00003"] * 4]), "column 'user', row 2: is empty; name a user in each row"),
        (table(user=[1, 2, 3, 4, 5, 6]), "column 'user', row 1: holds Int64, and the model takes text: cast it"),
        (table(item=["1"] * 6), "column 'item', row 1: holds String, and the model takes whole numbers: cast it"),
        (table(item=[1.0, 10.7, *[2.5] * 4]), "column 'item', row 2: is 10.7, no whole number (5 such rows); write"),
        (table(page=[1] * 6), "column 'page', row 1: holds Int64, and the model takes text: cast it to strings"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(
    shop: Path, tmp_path: Path, capsys: Captured, frame: pl.DataFrame, said: str
) -> None:
    source = written(frame, tmp_path / "pairs.parquet")
    assert said in refused(capsys, run_of(shop, "deepfm"), source)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize("name", ["pairs.txt", "missing.parquet", "broken.parquet"])
def test_what_is_no_table_is_refused_in_one_line(shop: Path, tmp_path: Path, capsys: Captured, name: str) -> None:
    source = tmp_path / name
    if not name.startswith("missing"):
        source.write_text("user,item\n")
    said = "cannot be read as Parquet (" if name.startswith("broken") else "is no file that ends in .parquet or .csv"
    assert f"{source} {said}" in refused(capsys, run_of(shop, "deepfm"), source)


def test_another_ending_of_the_scores_is_refused_before_any_work(tmp_path: Path, capsys: Captured) -> None:
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "s.csv")]) == 2
    assert "s.csv is no file that ends in .parquet" in capsys.readouterr().err


def refused(capsys: Captured, folder: Path, source: Path) -> str:
    capsys.readouterr()
    assert main(["score", str(folder), str(source), "--out", str(source.parent / "scores.parquet")]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err
