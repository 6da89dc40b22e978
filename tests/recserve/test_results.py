"""Published results: one file for each system and data set, one line of the table for each file."""

from pathlib import Path

import pytest

from recserve import results, runs
from recserve.commands.systems import published, row
from training.baselines import deepfm, fm
from training.registry import SYSTEMS


def recorded(system: str, dataset: str, auc: float) -> results.Result:
    spread = {"mean": auc, "std": 0.001}
    test = {"auc": spread, "gauc": spread, "log_loss": spread}
    return results.Result(
        system=system,
        dataset=dataset,
        seeds=[0, 1, 2],
        test=test,
        config={},
        versions={},
        recorded="2026-01-01",
        command="",
        runs=[],
        by_seed=None,
    )


def test_a_system_has_one_result_for_each_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    first, second = recorded("fm", "ml-100k-fields", 0.61), recorded("fm", "hin-amazon", 0.72)
    results.record(first)
    results.record(second)
    assert results.read("fm", "ml-100k-fields") == first
    assert results.read("fm", "hin-amazon") == second
    assert results.read("deepfm", "hin-amazon") is None
    assert results.datasets("fm") == ["hin-amazon", "ml-100k-fields"]
    lines = [row(*entry) for entry in published("click prediction") if entry[0].name in ("deepfm", "fm")]
    assert [line[2] for line in lines] == ["ml-100k-fields", "hin-amazon, 3 seeds", "ml-100k-fields, 3 seeds"]
    assert [line[4] for line in lines] == ["", "0.7200 ± 0.0010", "0.6100 ± 0.0010"]


def test_the_margin_is_over_the_baseline_on_the_same_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for system, dataset, auc in (("lrea", "ml-100k", 0.76), ("din", "ml-100k", 0.75), ("din", "elsewhere", 0.5)):
        results.record(recorded(system, dataset, auc))
    assert row(SYSTEMS["lrea"], "ml-100k")[-1] == "+0.0100 AUC, +0.0100 GAUC over din"


def test_the_configuration_chooses_the_data_set_where_it_has_a_choice() -> None:
    assert runs.dataset_of(fm.SYSTEM, fm.SYSTEM.config()) == "ml-100k-fields"
    assert runs.dataset_of(deepfm.SYSTEM, deepfm.SYSTEM.config(dataset="hin-amazon")) == "hin-amazon"
    assert runs.dataset_of(SYSTEMS["din"], SYSTEMS["din"].config()) == "ml-100k"
    with pytest.raises(ValueError, match="no data set is called 'nowhere' here; choose one of ml-100k, "):
        runs.load_data(fm.SYSTEM, fm.SYSTEM.config(dataset="nowhere"))
