"""Runs that build on other runs: what is trained first, what is taken over, and what is not trained twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recserve import runs
from recserve.cli import main
from recserve.studies.corp.command import origin
from tests.recserve.releases import registered
from training import checkpoint
from training.data.catalogue import CatalogueData

DATASET = "plain"
SIZES = [f"--config.{name}={size}" for name, size in (("codebooks", 6), ("words", 8), ("dim", 16), ("beams", 4))]


@pytest.fixture(scope="module", autouse=True)
def _sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp("upstream")):
        yield


def train(capsys: pytest.CaptureFixture[str], *words: Any) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["train", *map(str, words), "--dataset", DATASET, "--max-epochs", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_trains_what_it_builds_on_once_and_takes_over_what_that_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = train(capsys, "mmq2", "--runs", tmp_path)["runs"]
    (vectors,) = (tmp_path / "sasrec").glob(f"{DATASET}-*-s0")
    given = checkpoint.load_run(vectors).products
    assert given is not None
    trained = runs.load(Path(folder))
    assert torch.equal(trained.module.get_buffer("behaviour"), given["item_vectors"])
    assert isinstance(trained.data, CatalogueData)
    assert torch.equal(trained.data.vectors.behaviour, given["item_vectors"])
    finished = (vectors / "run.json").stat().st_mtime_ns
    train(capsys, "mmq2", "--runs", tmp_path, "--resume")
    train(capsys, "mmq2", "--runs", tmp_path, "--overwrite")
    assert (vectors / "run.json").stat().st_mtime_ns == finished, "SASRec was trained again"
    train(capsys, "mmq2", "--runs", tmp_path, "--seed", 1)
    assert len(list((tmp_path / "sasrec").glob("*-s1"))) == 1, "another seed builds on another run"


def test_what_was_trained_for_fewer_epochs_is_not_taken_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(capsys, "sasrec", "--runs", tmp_path)
    words = ["train", "mmq2", "--runs", str(tmp_path), "--dataset", DATASET, "--max-epochs", "2"]
    assert main(words) == 2
    assert "was started with --max-epochs 1" in " ".join(capsys.readouterr().err.split())


def test_a_finished_generator_needs_its_tokenizer_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = train(capsys, "reg4rec", "--runs", tmp_path, *SIZES, "--config.preference-epochs", 1)
    (folder,) = done["runs"]
    (tokenizer,) = runs.plan_of(Path(folder)).upstream()
    assert (tokenizer.system.name, tokenizer.dataset, tokenizer.config.words) == ("mpq", DATASET, 8)
    at = tokenizer.folder(tmp_path)
    codes = (checkpoint.load_run(at).products or {})["codes"]
    trained = runs.load(Path(folder))
    assert torch.equal(trained.module.get_buffer("codes"), codes)
    said = origin(trained)
    assert said["run"] == str(Path(folder).relative_to(tmp_path))
    assert (said["dataset"], said["seeds"], said["config"]["words"]) == (DATASET, [0], 8)
    assert said["command"]
    assert {"python", "torch"} <= said["versions"].keys()
    assert {"ndcg10", "ndcg10 after supervised"} <= set(done["test"])
    at.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(["evaluate", folder, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["metrics"] == pytest.approx(done["metrics"][0]["test"])
    assert not at.exists()
