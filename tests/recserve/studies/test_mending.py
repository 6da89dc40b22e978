"""What the study of mending publishes: graphs timed in turn, the share of their own nodes, recorded AUC by damage."""

from pathlib import Path

import pytest

from recserve import results
from recserve.studies.mending import bench, damage
from tests.training.systems.generator_models import data, untrained
from tests.training.systems.sgctr_models import around


@pytest.mark.slow
@pytest.mark.long
def test_the_whole_run() -> None:
    plan = bench.Plan(candidates=20, repetitions=2, rounds=(1,), paths=2)
    result = bench.run(around(untrained(layers=1)), data(), plan)
    base, once, paths = result["rows"]
    assert [base["way"], once["way"], paths["way"]] == ["base", "1 round", "2 paths"]
    assert base["ratio"] == 1
    assert once["ratio"] == pytest.approx(once["cpu_ms"] / base["cpu_ms"], rel=1e-2)
    assert base["early_exit"] is None
    assert 0 <= once["early_exit"] <= 1
    assert 0 < result["own_share"] < 1


def test_what_was_recorded_is_drawn_by_the_number_of_damaged_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="nothing was recorded on ml-100k"):
        damage.recorded("ml-100k")
    names = ["auc", "base_auc", *(f"corrupt{n}_{part}auc" for n in (1, 2, 3) for part in ("", "base_"))]
    test = {name: {"mean": 0.7 - 0.01 * number, "std": 0.01} for number, name in enumerate(names)}
    by_seed = {name: [one["mean"], one["mean"] + 0.01] for name, one in test.items()}
    shared = {"seeds": [0, 1], "config": {}, "versions": {}, "recorded": "", "command": "", "runs": []}
    shared["by_seed"] = by_seed
    results.record(results.Result(task="click", dataset="ml-100k", system="sgctr", variant="", test=test, **shared))
    found = damage.recorded("ml-100k")
    assert found["SGCTR, 1 round"]["seeds"] == [0, 1]
    assert found["SGCTR, 1 round"]["mean"] == pytest.approx([0.7, 0.68, 0.66, 0.64])
    assert found["base: DGenCTR"]["mean"] == pytest.approx([0.69, 0.67, 0.65, 0.63])
    assert found["base: DGenCTR"]["std"] == [0.01] * 4
    first, second = found["base: DGenCTR"]["by_seed"]
    assert first == pytest.approx([0.69, 0.67, 0.65, 0.63])
    assert second == pytest.approx([0.7, 0.68, 0.66, 0.64])
    damage.draw(found, "ml-100k", tmp_path / "damage.svg")
    drawn = (tmp_path / "damage.svg").read_text()
    assert "damaged fields" in drawn
    assert "SGCTR, 1 round (2 seeds)" in drawn
