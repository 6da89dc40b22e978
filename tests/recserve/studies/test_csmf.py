"""What is drawn of CSMF's stages is what was recorded; what was not is said with the command that does."""

import json
from pathlib import Path

import pytest

from recserve import results
from recserve.studies.objectives import points
from recserve.studies.objectives.command import Csmf
from training.systems.csmf import SYSTEM, Config
from training.systems.csmf.config import Way
from training.systems.csmf.stages import asked

NAMES = ("shown", "clicked")


def put(way: Way, test: dict[str, float]) -> None:
    results.record(
        results.Result(
            task="retrieval",
            dataset="kuairand",
            system="csmf",
            variant=SYSTEM.variant(Config(way=way)),
            seeds=[0, 1, 2],
            test={name: {"mean": mean, "std": 0.01} for name, mean in test.items()},
            config={},
            versions={},
            recorded="2026-11-29",
            command="",
            runs=[f"csmf/{way}"],
            by_seed=None,
        )
    )


def measured(
    metric: str, end: tuple[float, float], after: dict[str, tuple[float, float]], trained: int
) -> dict[str, float]:
    """As runs give them: in the lists that ask for it of what was trained, of the others in what there is."""
    found = {asked(metric, name): value for name, value in zip(NAMES, end, strict=True)}
    for stage, values in after.items():
        found |= {f"{metric} of {name} after {stage}": value for name, value in zip(NAMES, values, strict=True)}
        for name, value in [*zip(NAMES, values, strict=True)][:trained]:
            found[f"{asked(metric, name)} after {stage}"] = value
    return found


def put_both() -> None:
    after = {"shown": (0.3, 0.2), "shown, recovered": (0.29, 0.19)}
    owners = {"user owned by shown": 0.4, "user owned by clicked": 0.6}
    owners |= {"outputs owned by shown": 0.5, "outputs owned by clicked": 0.5}
    masks = measured("recall50", (0.29, 0.25), after, 1) | measured("ndcg50", (0.1, 0.11), after, 1)
    put("masks", masks | owners)
    naive = {"shown": (0.3, 0.2)}
    put("naive", measured("recall50", (0.1, 0.26), naive, 2) | measured("ndcg50", (0.05, 0.12), naive, 2))


def test_each_stage_is_read_in_order_and_before_its_turn_an_objective_has_the_list_that_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    put_both()
    found = points.recorded("kuairand")
    assert [*found] == ["masks", "naive"]
    masks = found["masks"]
    assert (masks.stages, masks.objectives) == (("shown", "shown, recovered", ""), NAMES)
    clicked = [masks.figure("recall50", "clicked", stage)["mean"] for stage in masks.stages]
    assert clicked == [0.2, 0.19, 0.25]
    assert masks.owned == {"user": [0.4, 0.6], "outputs": [0.5, 0.5]}
    assert found["naive"].owned == {}


def test_the_picture_and_its_figures_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    put_both()
    assert Csmf(output=tmp_path / "stages.json").run() == 0
    picture = (tmp_path / "stages.svg").read_text()
    assert all(
        f"<!-- {text} -->" in picture
        for text in ("owners of weights by layer", "CSMF", "fine-tuned without masks", "60%")
    )
    written = json.loads((tmp_path / "stages.json").read_text())
    drawn = {(one["way"], one["stage"], one["objective"]): one["recall50"]["mean"] for one in written["points"]}
    assert drawn["naive", "", "shown"] == 0.1
    assert drawn["masks", "", "shown"] == drawn["masks", "shown, recovered", "shown"] == 0.29
    assert written["run"] == ["csmf/masks", "csmf/naive"]
    assert written["owners"]["user"] == [0.4, 0.6]


def test_the_table_has_the_ways_that_were_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    put_both()
    put("last", {asked(metric, name): 0.2 for metric in points.METRICS for name in NAMES})
    lines = points.markdown().splitlines()
    assert lines[0].startswith("| kuairand | recall50 of shown | recall50 of clicked | ndcg50 of shown")
    assert lines[2].startswith("| CSMF | 0.2900 ± 0.0100 | 0.2500 ± 0.0100 | 0.1000")
    assert lines[2].endswith("| 0.2900 ± 0.0100 |")
    assert lines[3].endswith("| 0.3000 ± 0.0100 |"), "what naive tuning had of exposures before it forgot"
    assert lines[4].startswith("| last objective alone | 0.2000")
    assert lines[4].endswith("|  |"), "no earlier stage"


def test_what_was_not_recorded_is_said_with_the_command_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(
        ValueError, match="CSMF was not recorded on kuairand; recserve train csmf --dataset kuairand --s"
    ):
        Csmf(output=tmp_path / "stages.json").run()
