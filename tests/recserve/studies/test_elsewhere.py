"""Figures of others, and ours beside them."""

from pathlib import Path
from typing import Any

import pytest

from recserve import results
from recserve.studies import elsewhere
from training.tasks.next_item import NEXT_ITEM
from training.tasks.retrieval import RETRIEVAL


def record(task: str, dataset: str, system: str, variant: str, recall: float) -> None:
    test = {f"{name}{k}": {"mean": recall, "std": 0.0} for name in ("recall", "ndcg") for k in (10, 20)}
    rest: dict[str, Any] = {"config": {}, "versions": {}, "recorded": "", "command": "", "runs": [], "by_seed": None}
    of = {"task": task, "dataset": dataset, "system": system, "variant": variant}
    results.record(results.Result(seeds=[0, 1, 2], test=test, **of, **rest))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)


def test_ours_stand_below_those_of_others_on_the_same_data_set() -> None:
    record("retrieval", "gowalla", "ease", "", 0.1234)
    record("retrieval", "gowalla", "croloss", "alpha-0", 0.1111)
    record("retrieval", "ml-100k", "ease", "", 0.1222)
    record("next_item", "beauty", "reg4rec", "letter", 0.0543)
    record("next_item", "beauty", "reg4rec", "mmq", 0.0542)
    lines = elsewhere.markdown().splitlines()
    assert "| gowalla | ease | ours, mean of 3 seeds | 0.1234 | 0.1234 |" in lines
    assert "| beauty | reg4rec-letter | ours, mean of 3 seeds | 0.0543 | 0.0543 |" in lines
    assert len([line for line in lines if "ours" in line]) == 2
    datasets = [line.split("|")[1].strip() for line in lines if "| gowalla" in line or "| ml-1m-clean" in line]
    assert datasets == sorted(datasets)


def test_every_figure_has_a_source_and_stands_once() -> None:
    for task, figures, _ in elsewhere._TABLES:
        assert len({one[:3] for one in figures}) == len(figures)
        assert all(one.source and 0 < one.ndcg < one.recall < 1 for one in figures)
        assert not elsewhere.ours(task, "beauty"), "nothing is recorded here"
    assert {one.dataset for one in elsewhere.AT_20} == {"beauty", "sports", "gowalla", "ml-1m-clean"}
    assert [task for task, *_ in elsewhere._TABLES] == [RETRIEVAL, NEXT_ITEM]
