"""What `recserve study one-call` asks, compares and draws."""

from pathlib import Path

import numpy as np
import pytest

from recserve.cli import main
from recserve.studies.one_call.bench import _refuse_other
from recserve.studies.one_call.picture import draw

FIGURES = ("p50_ms", "p95_ms", "server_cpu_ms", "client_cpu_ms")


def test_a_repository_without_what_is_asked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("retrieve_then_rank", "retrieve_then_rank_retriever"):
        (tmp_path / name).mkdir()
    words = ["study", "one-call", "nobody", "--repository", str(tmp_path), "--output", str(tmp_path / "x.json")]
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
