"""What `recserve study one-call` asks, compares and draws."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recserve.cli import main
from recserve.studies.one_call.bench import _refuse_other
from recserve.studies.one_call.picture import draw
from tests.recserve.releases import everything, registered

FIGURES = ("p50_ms", "p95_ms", "server_cpu_ms", "client_cpu_ms")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with registered(tmp_path_factory.mktemp("one_call")):
        yield everything(tmp_path_factory)


@pytest.mark.slow(110)
@pytest.mark.triton_server
def test_one_call_is_timed_beside_two_that_answer_the_same(repository: Path, tmp_path: Path) -> None:
    words = ["study", "one-call", "deepfm", "--repository", str(repository), "--turns", "2", "--calls", "8"]
    assert main([*words, "--output", str(tmp_path / "one-call.json")]) == 0
    result = json.loads((tmp_path / "one-call.json").read_text())
    assert (result["retrieved"], result["listed"], result["requests"], result["dataset"]) == (30, 30, 16, "plain")
    one, two = result["rows"]
    assert (one["way"], two["way"]) == ("one call", "two calls")
    for name in FIGURES[:2]:
        assert result["one of two"][name] == pytest.approx(one[name] / two[name], abs=1e-3)
    assert min(one[name] for name in FIGURES[:2]) > 0
    assert (tmp_path / "one-call.svg").is_file()


@pytest.mark.slow(110)
def test_a_repository_without_what_is_asked_is_refused(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", "one-call", "nobody", "--repository", str(repository), "--output", str(tmp_path / "x.json")]
    assert main(words) == 2
    assert "has no nobody: export RUN --then-rank RUN into it" in " ".join(capsys.readouterr().err.split())


def test_another_list_is_named_by_its_tensor() -> None:
    one = {"items": np.array([[1, 2]]), "scores": np.array([[0.5, 0.25]])}
    _refuse_other(one, {name: array.copy() for name, array in one.items()})
    with pytest.raises(ValueError, match="one call answers other scores than two"):
        _refuse_other(one, {**one, "scores": np.array([[0.5, 0.125]])})


def test_a_result_is_drawn(tmp_path: Path) -> None:
    rows = [{"way": way, **dict.fromkeys(FIGURES, 1.5)} for way in ("one call", "two calls")]
    draw({"rows": rows, "retrieved": 200, "listed": 100, "dataset": "plain"}, tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text()
