"""Published results: one file for each task, data set and variant of a system, one line of the table for each file."""

from pathlib import Path

import pytest

from recserve import results, runs
from recserve.commands.systems import columns, entries, head, row
from training.registry import SYSTEMS
from training.tasks.click import CLICK

AUC = head(CLICK).index("AUC")


def recorded(system: str, dataset: str, auc: float, variant: str = "", **config: object) -> results.Result:
    spread = {"mean": auc, "std": 0.001}
    return results.Result(
        task="click",
        dataset=dataset,
        system=system,
        variant=variant,
        seeds=[0, 1, 2],
        test={"auc": spread, "gauc": spread, "log_loss": spread},
        config=dict(config),
        versions={},
        recorded="2026-01-01",
        command="",
        runs=[],
        by_seed=None,
    )


def test_a_system_has_one_result_for_each_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    first, second = recorded("fm", "ml-100k", 0.61), recorded("fm", "hin-amazon", 0.72)
    for one in (first, second):
        results.record(one)
    assert results.read("click", "ml-100k", "fm") == first
    assert results.read("click", "hin-amazon", "fm") == second
    assert results.read("click", "hin-amazon", "deepfm") is None
    assert results.read("next_item", "ml-100k", "fm") is None
    assert results.of_system(SYSTEMS["fm"]) == [second, first]
    lines = [row(entry) for entry in entries(CLICK) if entry.system.name in ("deepfm", "fm")]
    assert [line[2] for line in lines] == ["not measured", "hin-amazon, 3 seeds", "ml-100k, 3 seeds"]
    assert [line[AUC] for line in lines] == ["", "0.7200 ± 0.0010", "0.6100 ± 0.0010"]


def test_the_margin_is_over_the_baseline_on_the_same_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for system, dataset, auc in (("lrea", "ml-100k", 0.76), ("din", "ml-100k", 0.75), ("din", "elsewhere", 0.5)):
        results.record(recorded(system, dataset, auc))
    (line,) = (row(entry) for entry in entries(CLICK) if entry.system.name == "lrea")
    assert line[-1] == "+0.0100 AUC, +0.0100 GAUC over din"


def test_a_variant_has_a_line_of_its_own_and_its_own_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    results.record(recorded("matt", "ml-100k", 0.7, variant="dea", base="dea"))
    results.record(recorded("matt", "ml-100k", 0.71, variant="fm", base="fm"))
    results.record(recorded("fm", "ml-100k", 0.705))
    lines = {line[0]: line[-1] for line in (row(entry) for entry in entries(CLICK)) if line[0].startswith("matt")}
    assert lines == {"matt-dea": "dea: not measured", "matt-fm": "+0.0050 AUC, +0.0050 GAUC over fm"}


def test_own_columns_of_a_system_stand_beside_the_tasks() -> None:
    assert [column.metric for column in columns(CLICK)][:3] == ["auc", "gauc", "log_loss"]
    assert {"served_auc", "gain"} <= {column.metric for column in columns(CLICK)}


def test_a_plan_names_its_data_set() -> None:
    plan = runs.Plan(SYSTEMS["din"], "ml-100k", SYSTEMS["din"].config(), 3)
    assert plan.folder(Path("runs")).parent == Path("runs/din")
    assert plan.folder(Path("runs")).name.startswith("ml-100k-")
    other = plan._replace(until="1998-01-01")
    assert other.folder(Path("runs")).name.endswith("-until-1998-01-01-s3")
    with pytest.raises(ValueError, match="no data set is called 'nowhere'; there are: beauty, "):
        runs.load_data(plan._replace(dataset="nowhere"))
