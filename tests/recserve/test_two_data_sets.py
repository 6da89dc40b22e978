"""Two data sets of one system, trained and exported by the commands and served side by side: nobody's ids get
another's titles."""

import copy
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.model_config import read_config, render
from export.published import CONFIG_FILES
from recserve import runs
from recserve.cli import main
from serving.identity import Identity
from serving.server import ServerOptions, TritonServer
from tests.test_committed_configs import DIGESTS
from training.asking import met_by
from training.data.click import ClickData, now
from training.data.fetch import default_cache

pytestmark = [pytest.mark.slow, pytest.mark.triton_server]
Captured = pytest.CaptureFixture[str]
SETS = {"movies": "ml-100k", "shop": "hin-amazon"}
SMALL = [
    "--config.dim",
    "4",
    "--config.hidden",
    "8",
    "4",
    "--config.codebook-rows",
    "16",
    "--config.batch-size",
    "4096",
]
STRANGERS = (2**40, -1, -(2**63), 2**63 - 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, runs.Trained]:
    """A run of dea on each data set, by `recserve train`."""
    for folder in ("ml-100k", "hin-amazon"):
        if not (default_cache() / folder).is_dir() and "RECSERVE_DATA" not in os.environ:
            pytest.skip(f"{folder} is not here: recserve data fetch {folder}")
    root = tmp_path_factory.mktemp("runs")
    for dataset in SETS.values():
        words = ["--dataset", dataset, "--max-epochs", "1", "--runs", str(root), *SMALL]
        assert main(["train", "dea", *words, "--json"]) == 0
    found = [runs.load(folder) for folder in (root / "dea").iterdir()]
    by_set = {one.dataset: one for one in found}
    return {name: by_set[dataset] for name, dataset in SETS.items()}


@pytest.fixture(scope="module")
def repository(trained: dict[str, runs.Trained], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MovieLens as dea, Amazon as shop; and copies of dea as an earlier release wrote it (old), and as
    of another preprocessing (changed)."""
    folder = tmp_path_factory.mktemp("two") / "models"
    where = ["--repository", str(folder)]
    assert main(["export", str(trained["movies"].folder), *where]) == 0
    assert main(["export", str(trained["shop"].folder), *where, "--name", "shop"]) == 0
    for name, parameters in {"old": Identity._fields, "changed": ("schema_digest",)}.items():
        shutil.copytree(folder / "dea", folder / name)
        for file in CONFIG_FILES:
            config = read_config(folder / name / file)
            config.name = name
            for parameter in {*parameters} & {*config.parameters}:
                del config.parameters[parameter]
            if name == "changed":
                config.parameters["schema_digest"].string_value = "0123456789abcdef"
            (folder / name / file).write_text(render(config))
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with TritonServer(repository, ServerOptions(log=tmp_path_factory.mktemp("log") / "log")) as one:
        yield one


def ranked(capsys: Captured, server: TritonServer, *words: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["ask", *map(str, words), "--url", server.url, "--deadline-s", "30", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: Captured, *words: object) -> str:
    capsys.readouterr()
    assert main([*map(str, words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def data_of(one: runs.Trained) -> ClickData:
    assert isinstance(one.data, ClickData)
    return one.data


def trained_scores(one: runs.Trained, user: int, items: list[int]) -> np.ndarray:
    """Of the trained module itself, in fp64."""
    batch = now(data_of(one), user, np.array(items))
    with torch.no_grad():
        logits = copy.deepcopy(one.module).double()(batch._replace(dense=batch.dense.double()))
    return torch.sigmoid(logits).numpy()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("user", [42, *STRANGERS])
def test_each_release_is_ranked_with_its_own_titles_and_scores(
    trained: dict[str, runs.Trained], server: TritonServer, capsys: Captured, name: str, user: int
) -> None:
    one, model = trained[name], {"movies": "dea"}.get(name, name)
    found, data = ranked(capsys, server, model, "--user", user, "--top", 5), data_of(trained[name])
    assert (found["model"], found["dataset"], found["system"]) == (model, SETS[name], "dea")
    (answer,) = found["answers"]
    items, titles = [row["item"] for row in answer["rows"]], data.interactions.titles
    assert [row["title"] for row in answer["rows"]] == [titles[item] for item in items]
    np.testing.assert_allclose([row["score"] for row in answer["rows"]], trained_scores(one, user, items), atol=1e-5)
    known = data.interactions.dense("user", user)
    seen = {titles[item] for item in met_by(data.interactions.events, known).tolist()}
    unseen = [item for item, title in enumerate(titles) if item and title not in seen]
    assert answer["rows"][0]["score"] >= trained_scores(one, user, unseen).max() - 1e-5
    liked = (
        ", ".join(dict.fromkeys(titles[item] for item in met_by(data.interactions.positives, known)[:-6:-1].tolist()))
        or "nothing yet"
    )
    assert answer["lines"][0].endswith(f" lately liked: {liked}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["dea", "--dataset", "hin-amazon"],
            "--dataset hin-amazon, but the served model 'dea' is of data set ml-100k; leave",
        ),
        (["shop", "--dataset", "ml-100k"], "the served model 'shop' is of data set hin-amazon"),
        (["old"], "the served model 'old' does not say which data set it is of"),
        (
            ["changed"],
            "the served model 'changed' was made of another ml-100k (schema 0123456789abcdef",
        ),
        (["nobody"], "'nobody' is not found; export it into the served repository, or"),
    ],
)
def test_what_would_print_the_wrong_titles_is_refused(
    server: TritonServer, capsys: Captured, words: list[str], said: str
) -> None:
    assert said in refused(capsys, "ask", *words, "--user", 42, "--url", server.url)


def test_another_data_set_under_a_served_name_is_refused_and_the_advice_works(
    trained: dict[str, runs.Trained], repository: Path, tmp_path: Path, capsys: Captured
) -> None:
    copied = Path(shutil.copytree(repository / "dea", tmp_path / "models" / "dea")).parent
    movies, shop = trained["movies"].folder, trained["shop"].folder
    said = refused(capsys, "export", shop, "--repository", copied)
    assert f"served is system dea, dataset ml-100k, schema digest {DIGESTS['ml-100k']} by {movies} (version 1)" in said
    assert f"offered is system dea, dataset hin-amazon, schema digest {DIGESTS['hin-amazon']} by {shop}" in said
    assert sorted(path.name for path in copied.glob("*/[0-9]*")) == ["1"]
    assert main(["export", str(shop), "--repository", str(copied), "--name", "other"]) == 0
    said = refused(capsys, "export", movies, "--repository", copied, "--name", "other")
    assert "served is system dea, dataset hin-amazon" in said


def test_amazon_under_the_systems_own_name_is_ranked_as_amazon(
    trained: dict[str, runs.Trained], tmp_path: Path, capsys: Captured
) -> None:
    """The command that once printed MovieLens titles over Amazon scores."""
    assert main(["export", str(trained["shop"].folder), "--repository", str(tmp_path / "models")]) == 0
    with TritonServer(tmp_path / "models", ServerOptions(log=tmp_path / "log")) as server:
        found = ranked(capsys, server, "--user", 42, "--top", 3)
    rows = found["answers"][0]["rows"]
    items = [row["item"] for row in rows]
    titles = data_of(trained["shop"]).interactions.titles
    assert [row["title"] for row in rows] == [titles[item] for item in items]
    np.testing.assert_allclose([row["score"] for row in rows], trained_scores(trained["shop"], 42, items), atol=1e-5)


def test_a_run_of_data_that_has_changed_since_is_not_exported(
    trained: dict[str, runs.Trained], tmp_path: Path, capsys: Captured
) -> None:
    folder = Path(shutil.copytree(trained["movies"].folder, tmp_path / "runs" / "dea" / "changed"))
    schema = folder / "schema.json"
    schema.write_text(schema.read_text().replace('"doctor"', '"physician"'))
    said = refused(capsys, "export", folder, "--repository", tmp_path / "models")
    assert "was trained on another ml-100k than the one here" in said
    assert not (tmp_path / "models").exists()
