"""What the study of mending publishes: graphs timed in turn, the share of their own nodes, recorded AUC by damage."""

from pathlib import Path

import pytest

from recserve import results
from recserve.studies.mending import bench, damage
from tests.training.systems.generator_models import data, untrained
from tests.training.systems.sgctr_models import around


@pytest.mark.slow
def test_the_whole_run() -> None:
    result = bench.run(around(untrained()), data(), 20, 2, rounds=(1,), paths=2)
    base, once, paths = result["rows"]
    assert [base["way"], once["way"], paths["way"]] == ["base", "1 rounds", "2 paths"]
    assert base["ratio"] == 1
    assert once["ratio"] == pytest.approx(once["p50_ms"] / base["p50_ms"], rel=1e-2)
    assert 0 < result["own_share"] < 1


def test_what_was_recorded_is_drawn_by_the_number_of_damaged_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="nothing was recorded on ml-100k"):
        damage.recorded("ml-100k")
    names = ["auc", "base_auc", *(f"corrupt{n}_{part}auc" for n in (1, 2, 3) for part in ("", "base_"))]
    test = {name: {"mean": 0.7 - 0.01 * number, "std": 0.0} for number, name in enumerate(names)}
    shared = {"seeds": [0], "config": {}, "versions": {}, "recorded": "", "command": "", "runs": [], "by_seed": None}
    results.record(results.Result(task="click", dataset="ml-100k", system="sgctr", variant="", test=test, **shared))
    found = damage.recorded("ml-100k")
    assert found["SGCTR, 1 round"] == pytest.approx([0.7, 0.68, 0.66, 0.64])
    assert found["base: DGenCTR"] == pytest.approx([0.69, 0.67, 0.65, 0.63])
    damage.draw(found, "ml-100k", tmp_path / "damage.svg")
    assert "damaged fields" in (tmp_path / "damage.svg").read_text()
