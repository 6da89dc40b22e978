"""Numbers with which nothing can be trained are refused by name, before a run is begun."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recserve.cli import main
from training.registry import SYSTEMS
from training.settings import check_settings


@dataclass(frozen=True)
class Config:
    dim: int = 1
    hidden: tuple[int, ...] = (4, 2)
    dropout: float = 0.0
    warm: bool = False
    name: str = "-1"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"dim": 0}, "dim is 0; it must be at least 1"),
        ({"dim": -4}, "dim is -4; it must be at least 1"),
        ({"hidden": (4, 0)}, "hidden is 0; it must be at least 1"),
        ({"dropout": -0.5}, "dropout is -0.5; it must be at least 0"),
        ({"dropout": float("nan")}, "dropout is nan; it must be at least 0"),
        ({"dropout": float("inf")}, "dropout is inf; it must be at least 0"),
    ],
)
def test_a_number_with_which_nothing_can_be_trained_is_named(changes: dict[str, Any], line: str) -> None:
    check_settings(Config())
    with pytest.raises(ValueError, match=f"^{line}$"):
        check_settings(Config(**changes))


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_defaults_of_every_system_pass(name: str) -> None:
    check_settings(SYSTEMS[name].config())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--config.dim -4", "dim is -4; it must be at least 1"),
        ("--config.learning-rate nan", "learning_rate is nan; it must be at least 0"),
        ("--config.epochs 0", "epochs is 0; it must be at least 1"),
        ("--init-from nowhere", "nowhere holds no run"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_leaves_no_run_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    options = ["--dataset", "planted-clicks", "--max-epochs", "1", "--runs", str(tmp_path / "runs")]
    assert main(["train", "fm", *options, *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
    assert not (tmp_path / "runs").exists()
