"""Numbers with which nothing can be trained are refused by name, before a run is begun."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from recserve.cli import main
from recserve.options import options_of
from training.registry import SYSTEMS
from training.settings import check_settings, or_none
from training.system import System


@dataclass(frozen=True)
class Config:
    dim: int = 1
    hidden: tuple[int, ...] = (4, 2)
    dropout: float = 0.0
    drawn: int = or_none(2)
    more: int = 0
    warm: bool = False
    name: str = "-1"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"dim": 0}, "dim is 0; it must be at least 1"),
        ({"dim": -4}, "dim is -4; it must be at least 1"),
        ({"hidden": (4, 0)}, "hidden is 0; it must be at least 1"),
        ({"drawn": -1}, "drawn is -1; it must be at least 0"),
        ({"dropout": -0.5}, "dropout is -0.5; it must be at least 0"),
        ({"dropout": float("nan")}, "dropout is nan; it must be at least 0"),
        ({"dropout": float("inf")}, "dropout is inf; it must be at least 0"),
    ],
)
def test_a_number_with_which_nothing_can_be_trained_is_named(changes: dict[str, Any], line: str) -> None:
    check_settings(Config())
    check_settings(Config(drawn=0, more=0, warm=False))
    with pytest.raises(ValueError, match=f"^{line}$"):
        check_settings(Config(**changes))


def refuses(config: Any, name: str, value: object) -> bool:
    """Whether a configuration is refused, and in no other way than as a setting that cannot be."""
    try:
        check_settings(replace(config, **{name: value}))
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_no_whole_number_of_any_system_is_0_unless_its_help_says_what_that_is(system: System) -> None:
    config, helps = system.config(), {option.path[-1]: option.help for option in options_of(system.config)}
    for field in fields(system.config):
        for number in value if isinstance(value := getattr(config, field.name), tuple) else (value,):
            if not isinstance(number, int | float) or isinstance(number, bool):
                continue
            like = tuple if isinstance(value, tuple) else lambda one: one[0]
            assert refuses(config, field.name, like([-1])), field.name
            if isinstance(number, int) and number > 0:
                assert refuses(config, field.name, like([0])) or re.search(r"\b0\b", helps[field.name]), field.name


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
