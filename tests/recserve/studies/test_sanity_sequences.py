"""Recorded results beside published ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from recserve import results
from recserve.cli import main
from recserve.studies.sanity_sequences import METRICS, PUBLISHED

Captured = pytest.CaptureFixture[str]


def record(system: str, dataset: str, share: float) -> None:
    """As a result, the first published figures times `share`."""
    figures = next(one for one in PUBLISHED if (one.dataset, one.system) == (dataset, system))
    test = {name: {"mean": share * getattr(figures, name), "std": 0.0} for name in METRICS}
    rest: dict[str, Any] = {"config": {}, "versions": {}, "recorded": "", "command": "", "runs": [], "by_seed": None}
    of = {"task": "next_item", "dataset": dataset, "system": system, "variant": ""}
    results.record(results.Result(seeds=[0], test=test, **of, **rest))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)


def test_a_result_far_below_the_published_one_fails_and_is_named(capsys: Captured) -> None:
    record("sasrec", "beauty", 1.2)
    record("tiger", "beauty", 0.9)
    assert main(["study", "sanity-sequences", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["below"] == ["tiger on beauty"]


def test_ours_stands_below_the_published_rows_with_its_share_of_each_comparable_one(capsys: Captured) -> None:
    record("sasrec", "sports", 0.98)
    record("sasrec", "beauty", 1.25)
    assert main(["study", "sanity-sequences"]) == 0
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    rows = {tuple(cells[:3]): cells[3:] for cells in lines if cells and cells[0] in ("beauty", "sports")}
    assert {key[:2] for key in rows} == {("beauty", "sasrec"), ("sports", "sasrec")}
    assert rows["sports", "sasrec", "ours, mean over seeds"][2] == "0.0343"
    shares = [cells[-1] for key, cells in rows.items() if key[0] == "beauty"]
    assert shares == ["1.2500", "", ""]


def test_without_any_result_it_says_how_to_make_one(capsys: Captured) -> None:
    assert main(["study", "sanity-sequences"]) == 2
    assert "recserve train sasrec --seeds 3 --record" in capsys.readouterr().err
