"""Published results: a file for each task, data set, system and variant; a line of the table for each file."""

from dataclasses import replace
from pathlib import Path

import pytest

from recserve import results
from recserve.commands.systems import Entry, Listing, facts, listings, row
from training.registry import SYSTEMS
from training.tasks.click import CLICK


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)


def record(system: str, dataset: str, auc: float, variant: str = "", **config: object) -> results.Result:
    spread = {"mean": auc, "std": 0.001}
    result = results.Result(
        task="click",
        system=system,
        dataset=dataset,
        variant=variant,
        seeds=[0, 1, 2],
        test={"auc": spread, "gauc": spread, "log_loss": spread},
        config=config,
        versions={},
        recorded="2026-01-01",
        command="",
        runs=[],
        by_seed=None,
    )
    results.record(result)
    return result


def tables() -> dict[str, Listing]:
    return {listing.title.removeprefix(f"{CLICK.title}, "): listing for listing in listings(CLICK)}


def test_a_system_has_one_result_for_each_data_set() -> None:
    first, second = record("fm", "ml-100k", 0.61), record("fm", "hin-amazon", 0.72)
    assert results.read("click", "ml-100k", "fm") == first
    assert results.read("click", "hin-amazon", "fm") == second
    assert results.read("click", "hin-amazon", "deepfm") is None
    assert results.read("next_item", "ml-100k", "fm") is None
    assert results.of_system(SYSTEMS["fm"]) == [second, first]
    shown = tables()
    assert list(shown) == ["hin-amazon", "ml-100k", "not measured"]
    assert [shown[name].rows[0][3] for name in ("hin-amazon", "ml-100k")] == ["0.7200 ± 0.0010", "0.6100 ± 0.0010"]
    others = [line[0] for line in shown["not measured"].rows]
    assert "deepfm" in others
    assert "fm" not in others


def test_variants_of_a_system_have_lines_of_their_own() -> None:
    for base, auc in (("fm", 0.61), ("dea", 0.63)):
        record(base, "ml-100k", auc - 0.01)
        record("matt", "ml-100k", auc, variant=base, base=base)
    found = results.read("click", "ml-100k", "matt-dea")
    assert found is not None
    assert found.name == "matt-dea"
    lines = tables()["ml-100k"].rows
    assert [(line[0], line[-1]) for line in lines if line[0].startswith("matt")] == [
        ("matt-dea", "+0.0100 AUC, +0.0100 GAUC over dea"),
        ("matt-fm", "+0.0100 AUC, +0.0100 GAUC over fm"),
    ]


def test_the_margin_is_over_the_baseline_on_the_same_data_set() -> None:
    record("din", "elsewhere", 0.5)
    ours = Entry(SYSTEMS["lrea"], record("lrea", "ml-100k", 0.76))
    assert row(ours, CLICK.columns)[-1] == "din: not measured"
    record("din", "ml-100k", 0.75)
    assert row(ours, CLICK.columns)[-1] == "+0.0100 AUC, +0.0100 GAUC over din"


def test_what_is_not_measured_has_no_figures() -> None:
    said = facts(Entry(SYSTEMS["lrea"], None))
    assert (said["dataset"], said["seeds"], said["test"], said["baseline"]) == (None, [], {}, "din")


def test_figures_that_one_system_alone_has_stand_in_one_column_of_their_data_set() -> None:
    record("fm", "ml-100k", 0.61)
    dmae = record("dmae", "hin-amazon", 0.76)
    assert SYSTEMS["dmae"].columns
    own = SYSTEMS["dmae"].columns[0]
    results.record(replace(dmae, test={**dmae.test, own.metric: {"mean": 0.5, "std": 0.0}}))
    shown = tables()
    assert "its own figures" not in shown["ml-100k"].head
    assert shown["hin-amazon"].rows[0][shown["hin-amazon"].head.index("its own figures")] == (
        f"{own.title} 0.5000 ± 0.0000"
    )
