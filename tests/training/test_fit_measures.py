"""What a fit measures, and how often."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training import tiny
from tests.training.click_views import histories
from tests.training.tiny import SYSTEM, Tiny, train
from training.data.click import ClickSplit
from training.fit import predict
from training.system import Predict


def test_what_an_epoch_measured_is_not_measured_again_for_the_weights_that_are_kept(tmp_path: Path) -> None:
    parts, data = [], histories()

    def evaluate(module: Tiny, predicted: Predict, split: ClickSplit) -> dict[str, float]:
        parts.append("validation" if split is data.validation else "test")
        return tiny.evaluate(module, predicted, split)

    result = train(tmp_path / "run", system=replace(SYSTEM, evaluate=evaluate))
    lines = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert parts.count("validation") == len(epochs) > 3
    assert parts.count("test") == 2, "after each stage"
    best = max(line["validation"]["auc"] for line in epochs if line["stage"] == epochs[-1]["stage"])
    assert result.metrics["validation"]["auc"] == best
    assert tiny.evaluate(result.module, predict, data.validation)["auc"] == pytest.approx(best)
