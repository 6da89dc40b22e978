"""The gate of figures that a team measured itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from recserve.cli import main
from recserve.quality import compare, read
from tests.recserve.test_cli import run_json

Captured = pytest.CaptureFixture[str]
BASELINE = {"two_tower": {"recall_at_5": 0.8}, "topics": {"accuracy": 0.9, "log_loss": 0.4}}


def files(folder: Path, measured: Any) -> list[str]:
    """The words that compare figures with the baseline."""
    (folder / "baseline.json").write_text(json.dumps(BASELINE))
    (folder / "measured.json").write_text(json.dumps(measured))
    return ["gate", str(folder / "measured.json"), "--baseline", str(folder / "baseline.json")]


@pytest.mark.parametrize(
    ("measured", "tolerance", "ok"),
    [
        ({"recall": 0.8, "loss": 0.4}, 0.0, True),
        ({"recall": 0.9, "loss": 0.1}, 0.0, True),
        ({"recall": 0.79, "loss": 0.4}, 0.0, False),
        ({"recall": 0.8, "loss": 0.41}, 0.0, False),
        ({"recall": 0.72, "loss": 0.44}, 0.1, True),
        ({"recall": 0.71, "loss": 0.44}, 0.1, False),
        ({"recall": 0.72, "loss": 0.45}, 0.1, False),
        ({"recall": 0.8}, 0.1, False),
        ({"recall": 0.8, "loss": 0.4, "more": -1.0}, 0.0, True),
    ],
)
def test_a_figure_may_be_worse_by_the_tolerance(measured: dict[str, float], tolerance: float, ok: bool) -> None:
    rows = compare({"recall": 0.8, "loss": 0.4}, measured, ["loss"], tolerance)
    assert all(one.ok for one in rows) == ok


def test_less_of_a_figure_below_zero_is_worse_too() -> None:
    assert [one.ok for one in compare({"gain": -1.0}, {"gain": -1.05}, [], 0.1)] == [True]
    assert [one.ok for one in compare({"gain": -1.0}, {"gain": -1.2}, [], 0.1)] == [False]


def test_the_command_exits_with_1_and_names_what_is_worse_and_what_is_missing(tmp_path: Path, capsys: Captured) -> None:
    words = files(tmp_path, {"two_tower": {"recall_at_5": 0.7}, "topics": {"log_loss": 0.5}, "new": 1})
    assert main([*words, "--lower", "topics.log_loss"]) == 1
    said = capsys.readouterr().out
    assert "topics.accuracy NOT MEASURED" in said
    assert "two_tower.recall_at_5 WORSE (0.7 against 0.8)" in said
    assert "topics.log_loss WORSE (0.5 against 0.4)" in said
    found = run_json(capsys, *words, code=1)
    assert [(one["name"], one["ok"]) for one in found["figures"]] == [
        ("two_tower.recall_at_5", False),
        ("topics.accuracy", False),
        ("topics.log_loss", True),
        ("new", True),
    ]


def test_as_good_passes(tmp_path: Path, capsys: Captured) -> None:
    assert run_json(capsys, *files(tmp_path, BASELINE))["ok"]


@pytest.mark.parametrize(
    ("measured", "more", "text"),
    [
        ({"auc": float("nan")}, [], "measured.json: auc is NaN, which is no finite number"),
        ({"topics": {"name": "a"}}, [], 'measured.json: topics.name is "a", which is no finite number'),
        ({"topics": True}, [], "measured.json: topics is true, which is no finite number"),
        ({}, [], "measured.json holds no figure"),
        (BASELINE, ["--lower", "log_loss"], "--lower log_loss: the baseline has no such figure; it has two_tower."),
        (BASELINE, ["--tolerance", "1"], "the tolerance must be a percentage"),
    ],
)
def test_what_is_no_figure_is_an_error_of_use(
    measured: Any, more: list[str], text: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main([*files(tmp_path, measured), *more]) == 2
    assert text in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json cannot be read as JSON"):
        read(tmp_path / "none.json")
