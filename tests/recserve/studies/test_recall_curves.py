"""Recall by N is drawn from what was recorded, and what was not is left out."""

import json
from pathlib import Path

import pytest

from recserve import results
from recserve.studies.recall_curves import points
from recserve.studies.recall_curves.command import RecallCurves
from training.systems.croloss import SYSTEM


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)


def put(system: str, variant: str, recall: float) -> None:
    test = {f"recall{target}": {"mean": recall * target, "std": 0.001} for target in points.TARGETS}
    results.record(
        results.Result(
            task="retrieval",
            dataset="beauty",
            system=system,
            variant=variant,
            seeds=[0, 1, 2],
            test=test,
            config={},
            versions={},
            recorded="2026-11-29",
            command="",
            runs=[f"{system}/{variant}"],
            by_seed=None,
        )
    )


def test_each_loss_is_read_under_its_own_name_and_drawn_over_the_softmax(tmp_path: Path) -> None:
    for number, config in enumerate(points.LOSSES.values()):
        put("croloss", SYSTEM.variant(config), 0.001 + 0.0001 * number)
    put("two_tower", "", 0.0005)
    found = points.recorded("beauty")
    assert list(found) == [*points.LOSSES, points.TWO_TOWER]
    assert len({result.name for result in found.values()}) == len(found)
    lines = points.markdown().splitlines()
    assert lines[2].startswith("| softmax of the sample (exp, alpha 1) | 0.0200 ± 0.0010 | 0.0500 ± 0.0010 |")
    RecallCurves(output=tmp_path / "recall.json").run()
    drawn = json.loads((tmp_path / "recall.json").read_text())
    assert [one["test"]["recall20"]["mean"] for one in drawn["points"]][-1] == pytest.approx(0.01)
    assert len(drawn["run"]) == len(found)
    assert "items in the list" in (tmp_path / "recall.svg").read_text()


def test_without_the_softmax_nothing_is_drawn(tmp_path: Path) -> None:
    put("croloss", "", 0.001)
    assert "softplus, alpha 1" in points.markdown()
    with pytest.raises(ValueError, match=r"croloss --config.kernel exp --dataset beauty"):
        RecallCurves(output=tmp_path / "recall.json").run()
