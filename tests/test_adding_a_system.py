"""The worked example of docs/adding-a-system.md, out of the page: all that every system goes through, and the whole
line over a team's own tables, from training to an answer of the real server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import served
from recserve.cli import main
from serving.server import ServerOptions, TritonServer
from tests import worked_example
from tests.pages import text_of
from tests.training import test_every_system as every
from tests.training.data.folder.tables import SKUS, Shop
from training.registry import SYSTEMS
from training.system import System, prepare

CHECKS = {name: check for name, check in vars(every).items() if name.startswith("test_")}
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("example")


@pytest.fixture(scope="module")
def example(folder: Path) -> Iterator[System]:
    with worked_example.registered(folder) as system:
        yield system


def test_the_page_says_how_long_the_file_is() -> None:
    number = len(worked_example.text().splitlines())
    said = f"is one file of {number} lines and one line of the registry"
    assert said in " ".join(text_of(worked_example.PAGE).split())


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_it_goes_through_what_every_system_does(check: Callable[..., None], example: System, folder: Path) -> None:
    check(example.name, folder)


def test_the_crosses_matter_and_none_of_them_is_the_control(example: System) -> None:
    one = every.ready(example.name)
    sample = one.data.test.batch(np.arange(8))
    for crosses, moved in ((3, True), (0, False)):
        torch.manual_seed(0)
        module = example.build(example.config(crosses=crosses), one.data.schema).eval()
        prepare(module, one.data)
        before = module(sample)
        with torch.no_grad():
            module.get_parameter("weights").add_(1.0)
        assert torch.equal(before, module(sample)) != moved


def test_a_system_is_asked_by_its_name_whenever_it_was_registered(example: System) -> None:
    assert example.name in served.asked()
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(SYSTEMS, example.name)
        assert example.name not in served.asked()


@pytest.mark.triton_server
def test_the_page_leads_from_a_table_to_an_answer(example: System, tmp_path: Path, capsys: Captured) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSERVE_CACHE", str(tmp_path / "cache"))
        repository = tmp_path / "my_models"
        _recserve("data", "add", str(Shop().write(tmp_path / "shop")))
        words = ("--dataset", "shop", "--max-epochs", "1", "--runs", str(tmp_path / "runs"))
        (run,) = _said(capsys, "train", example.name, *words)["runs"]
        _recserve("export", run, "--repository", str(repository))
        with TritonServer(repository, ServerOptions(state=tmp_path / "state", log=tmp_path / "log")) as server:
            answer = _said(capsys, "ask", "--user", "u00001", "--url", server.url)
        rows = answer["answers"][0]["rows"]
        assert (answer["model"], answer["dataset"]) == (example.name, "shop")
        assert rows
        assert all(row["item"] in SKUS and 0 < row["score"] < 1 for row in rows)


def _recserve(*words: str) -> None:
    assert main(words) == 0


def _said(capsys: Captured, *words: str) -> Any:
    capsys.readouterr()
    _recserve(*words, "--json")
    return json.loads(capsys.readouterr().out)
