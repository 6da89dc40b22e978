"""What is drawn of blocks is what was recorded, and a gap where nothing was."""

import json
from pathlib import Path

import pytest

from recserve import results
from recserve.studies.depth import points
from recserve.studies.depth.command import Depth
from training.systems.heterrec import SYSTEM, Config


def put(config: Config, quality: float) -> None:
    results.record(
        results.Result(
            task="next_item",
            dataset="hin-amazon",
            system="heterrec",
            variant=SYSTEM.variant(config),
            seeds=[0],
            test={"ndcg10": {"mean": quality, "std": 0.0}},
            config={},
            versions={},
            recorded="2026-11-29",
            command="",
            runs=[],
            by_seed=None,
        )
    )


def test_each_way_and_number_of_blocks_is_read_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    tokens, items = points.WAYS.values()
    for number, layers in enumerate(points.LAYERS):
        put(tokens(layers), 0.05 + 0.01 * number)
    put(items(2), 0.04)
    Depth(output=tmp_path / "depth.json").run()
    told = json.loads((tmp_path / "depth.json").read_text())
    assert [(one["layers"], one["ndcg10"]["mean"]) for one in told["points"]] == [
        (2, pytest.approx(0.05)),
        (4, pytest.approx(0.06)),
        (8, pytest.approx(0.07)),
        (2, pytest.approx(0.04)),
    ]
    assert [*told["slope"].values()] == [pytest.approx(0.01), None]
    put(items(8), 0.03)
    found = points.recorded("hin-amazon")
    assert points.slope(found["items alone, as many parameters"]) == pytest.approx(-0.005)
    assert "blocks of attention" in (tmp_path / "depth.svg").read_text()


def test_both_ways_have_as_many_blocks() -> None:
    for layers in points.LAYERS:
        for of in points.WAYS.values():
            config = of(layers)
            assert config.token_layers + config.item_layers == layers


def test_nothing_recorded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="nothing of it was recorded on hin-amazon"):
        Depth(output=tmp_path / "depth.json").run()
