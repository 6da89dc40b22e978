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
            config={"epochs": 20},
            versions={},
            recorded="2026-11-29",
            command="",
            runs=[],
            by_seed=None,
        )
    )


def test_each_way_and_number_of_blocks_is_read_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    tokens, items = points.WAYS.values()
    for number, layers in enumerate(points.LAYERS):
        put(tokens(layers), 0.05 + 0.01 * number)
    put(items(2), 0.04)
    Depth(output=tmp_path / "depth.json").run()
    told = capsys.readouterr().out
    assert told.count("not recorded: recserve train heterrec --dataset hin-amazon ") == 2
    assert told.count("--config.epochs 20 --seeds 3 --record") == 2
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


def test_what_has_to_be_recorded_first_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    put(points.WAYS["items alone, as many parameters"](2), 0.04)
    with pytest.raises(ValueError, match="with more than one number of blocks; first, such as") as said:
        Depth(output=tmp_path / "depth.json").run()
    assert not (tmp_path / "depth.json").exists()
    missing = str(said.value).splitlines()[1:]
    assert len(missing) == 5
    assert missing[-1].endswith("--config.token-layers 0 --config.item-layers 8 --config.epochs 20 --seeds 3 --record")
