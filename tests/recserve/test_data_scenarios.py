"""What `recserve data` and `recserve train` say of a folder of own tables without scenarios."""

import json
from pathlib import Path

import polars as pl
import pytest

from recserve.cli import main
from recserve.commands.data.add import Add
from recserve.commands.data.check import Check
from tests.training.data.folder.tables import NUM_EVENTS, Shop
from training.needs import SCENARIOS


@pytest.mark.parametrize(("said", "pages"), [("", ["home", "cart"]), ('scenario = "page"\n', ["home"])])
def test_models_of_many_scenarios_refuse_a_set_that_has_none_or_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, pages: list[str]
) -> None:
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path / "cache"))
    shop = Shop().say('scenario = "page"\n', said)
    shop.events = shop.events.with_columns(page=pl.Series([pages[row % len(pages)] for row in range(NUM_EVENTS)]))
    folder = shop.write(tmp_path / "shop")
    assert Add(folder=folder, json=True).run() == 0
    found = json.loads(capsys.readouterr().out)["systems"]
    several = {name for name, one in found.items() if one["lacks"] == ["two scenarios or more"]}
    assert several == {"gsvr", "pepnet", "sfpnet", "shared_bottom"}
    assert Check(folder=folder).run() == 0
    remedy = SCENARIOS.remedy
    assert f"sfpnet       lacks two scenarios or more: add {remedy}" in capsys.readouterr().out
    for name in sorted(several):
        assert main(["train", name, "--dataset", "shop", "--runs", str(tmp_path / "runs")]) == 2
        refused = f"error: shop cannot be used for {name}: it lacks two scenarios or more; own tables: add {remedy}"
        assert capsys.readouterr().err.startswith(refused)
    assert not (tmp_path / "runs").exists()
