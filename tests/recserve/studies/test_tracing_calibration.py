"""Calibration is drawn from what was recorded: each system by its own tenths, with every seed of it."""

import json
from pathlib import Path

import pytest

from recserve import results
from recserve.cli import main
from recserve.studies.tracing_calibration.points import curves
from training.tasks.tracing_slices import BINS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)


def put(system: str, *offsets: float, measured: bool = True) -> None:
    """A system whose seeds are right by so much more often than predicted."""
    by_seed: dict[str, list[float]] = {"auc": [0.7 for _ in offsets]}
    if measured:
        by_seed["calibration error"] = [abs(offset) for offset in offsets]
        for place in range(BINS):
            by_seed[f"calibration {place} predicted"] = [0.05 + 0.09 * place for _ in offsets]
            by_seed[f"calibration {place} right"] = [0.05 + 0.09 * place + offset for offset in offsets]
    results.record(
        results.Result(
            task="tracing",
            dataset="school",
            system=system,
            variant="",
            seeds=[*range(len(offsets))],
            test={name: results.spread(values) for name, values in by_seed.items()},
            config={},
            versions={},
            recorded="2026-11-30",
            command="",
            runs=[f"{system}/{seed}" for seed in range(len(offsets))],
            by_seed=by_seed,
        )
    )


def test_each_system_is_drawn_by_its_seeds_the_best_calibrated_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("dkt", 0.05, 0.07, 0.06)
    put("pfa", 0.01)
    put("older", 0.0, measured=False)
    found = {one.result.name: one for one in curves("school", ())}
    assert [*found] == ["pfa", "dkt"]
    assert (found["dkt"].right - found["dkt"].predicted)[:, 3] == pytest.approx([0.05, 0.07, 0.06])
    output = tmp_path / "calibration.json"
    assert main(["study", "tracing-calibration", "--dataset", "school", "--output", str(output)]) == 0
    assert "0.0600 ± 0.0100" in capsys.readouterr().out
    said = json.loads(output.read_text())
    assert [one["system"] for one in said["systems"]] == ["pfa", "dkt"]
    assert said["systems"][1]["right"][2] == pytest.approx([0.11 + 0.09 * place for place in range(BINS)])
    assert said["run"] == ["pfa/0", "dkt/0", "dkt/1", "dkt/2"]
    drawn = (tmp_path / "calibration.svg").read_text()
    assert all(text in drawn for text in ("pfa, 1 seed", "dkt, 3 seeds", "error 0.0600"))
    assert "older" not in drawn
    assert [one.result.name for one in curves("school", ("dkt",))] == ["dkt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--systems", "akt"], "akt was not recorded on school; there are older"),
        ([], "no tracing model with calibration was recorded on school; recserve train dkt --dataset school --seeds 3"),
        (["--output", "x.svg"], "--output is x.svg; its name must end in .json"),
    ],
)
def test_what_was_not_recorded_is_named(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("older", 0.0, measured=False)
    asked = ["study", "tracing-calibration", "--dataset", "school", "--output", str(tmp_path / "x.json"), *words]
    assert main(asked) == 2
    assert said in " ".join(capsys.readouterr().err.split())
