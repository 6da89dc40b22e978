"""MF-DAKT, trained: the recent factor pays where students forget, and question vectors go on telling difficulty."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.training.systems.mfdakt_models import data, fresh
from training.data.simulated_students import Simulation
from training.fit import FitOptions, fit
from training.systems.mfdakt import SYSTEM, Config
from training.systems.mfdakt.config import Recent
from training.systems.mfdakt.evaluation import told

pytestmark = pytest.mark.long

FORGETTING = Simulation(
    students=200,
    concepts=10,
    both=0.0,
    learning=(3.0,),
    forgetting=(0.3,),
    profile=0.0,
    start_spread=0.5,
    difficulty_spread=0.5,
    answers=50,
    length_spread=0.3,
)
"""What was gained on a concept is gone when it is asked for again, ten answers later."""
FEW: dict[str, Any] = {"dim": 8, "hidden": 16, "dropout": 0.1, "pretraining": False, "batch_size": 16, "epochs": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mfdakt")


@cache
def measured(folder: Path, recent: Recent) -> dict[str, float]:
    """On the test part, after a few epochs."""
    config = Config(**FEW, recent=recent, learning_rate=1e-2, student_rate=1e-3)
    return fit(SYSTEM, config, data(FORGETTING), FitOptions(run=folder / recent, quiet=True)).metrics["test"]


def test_the_recent_factor_pays_where_students_forget(folder: Path) -> None:
    assert measured(folder, "forgetting")["auc"] - measured(folder, "none")["auc"] > 0.008


def test_question_vectors_that_learn_of_answers_go_on_telling_difficulty(folder: Path) -> None:
    assert measured(folder, "forgetting")["difficulty"] > 0.5
    assert told(fresh())["difficulty"] < 0
