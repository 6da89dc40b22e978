"""What is drawn of label shares is what was recorded, and a gap where nothing was."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recserve import results
from recserve.studies.label_share import points
from recserve.studies.label_share.command import LabelShare
from training.systems.dgenctr import SYSTEM, GeneratorConfig


def put(config: GeneratorConfig, auc: float, **further: float) -> None:
    results.record(
        results.Result(
            task="click",
            dataset="ml-100k",
            system="dgenctr",
            variant=SYSTEM.variant(config),
            seeds=[0, 1],
            test={name: {"mean": mean, "std": 0.001} for name, mean in {"auc": auc, **further}.items()},
            config={},
            versions={},
            recorded="2026-11-29",
            command="",
            runs=[],
            by_seed=None,
        )
    )


def test_each_way_and_share_is_read_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    auc = 0.6
    for config in points.WAYS.values():
        for share in points.SHARES[1:]:
            put(replace(config, labels=share), auc := auc + 0.001)
    found = points.recorded("ml-100k")
    assert [list(one) for one in found.values()] == [list(points.SHARES[1:])] * 4
    means = [result.test["auc"]["mean"] for of in found.values() for result in of.values()]
    assert means == pytest.approx([0.601 + 0.001 * number for number in range(12)])
    lines = points.markdown().splitlines()
    assert lines[2] == "| every weight goes on | ml-100k |  | 0.6010 ± 0.0010 | 0.6020 ± 0.0010 | 0.6030 ± 0.0010 |"
    assert "abundance" not in points.markdown(), "not recorded"
    put(replace(points.WAYS["from scratch"], labels=1.0), 0.612, abundance=3.5)
    again = points.markdown().splitlines()
    assert again[: len(lines)] == lines
    assert again[len(lines) + 1].startswith("| information abundance of the fields' vectors | data | 1% of labels |")
    assert [line for line in again[len(lines) + 3 :] if "±" in line] == [
        "| from scratch | ml-100k |  |  |  | 3.5000 ± 0.0010 |"
    ]
    LabelShare(output=tmp_path / "labels.json").run()
    assert "training rows with a label" in (tmp_path / "labels.svg").read_text()
    drawn = json.loads((tmp_path / "labels.json").read_text())["points"]
    assert [one["auc"]["mean"] for one in drawn] == means


def test_nothing_recorded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="nothing of it was recorded on ml-100k"):
        LabelShare(output=tmp_path / "labels.json").run()
