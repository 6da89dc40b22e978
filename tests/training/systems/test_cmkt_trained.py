"""What CMKT learns of simulated students; a small set, for claims that hold by a wide margin."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.baselines.test_pfa import item_mean
from tests.training.systems.cmkt_models import data
from training.fit import FitOptions, fit
from training.systems.cmkt import SYSTEM, Config

pytestmark = pytest.mark.long

SMALL = Config(dim=12, hidden=16, epochs=5, learning_rate=2e-2)
CONFIGS = {
    "constrained": SMALL,
    "unconstrained": replace(SMALL, monotonicity=0.0),
    "hard": replace(SMALL, update="hard"),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """On held-out answers, by form."""
    runs = tmp_path_factory.mktemp("runs")
    return {
        form: fit(SYSTEM, config, data(), FitOptions(run=Path(runs, form), quiet=True)).metrics["test"]
        for form, config in CONFIGS.items()
    }


def test_the_constraint_makes_violations_rare_and_costs_nothing(measured: dict[str, dict[str, float]]) -> None:
    own, control = measured["constrained"], measured["unconstrained"]
    assert own["violations"] < min(0.02, control["violations"] / 3)
    assert own["auc"] > control["auc"] - 0.005
    assert own["against"] > 0, "it is not about two moments"


def test_hard_mastery_is_monotone_and_is_that_of_the_students(measured: dict[str, dict[str, float]]) -> None:
    own = measured["hard"]
    assert (own["violations"], own["against"]) == (0.0, 0.0)
    assert own["auc"] > item_mean(data()) + 0.02
    assert own["mastery"] > 0.5


def test_learnt_difficulties_are_those_of_held_out_answers(measured: dict[str, dict[str, float]]) -> None:
    """They start from zero."""
    assert all(one["difficulty"] > 0.5 for one in measured.values())
