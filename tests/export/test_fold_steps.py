"""Models that are also published answer by answer: what a state of a caller says equals what the whole history does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from export import rungs
from export.fold_steps import Arrays, Runs, StepFold
from export.rungs import Model
from tests.training.test_every_system import repository

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return rungs.opened(repository("pfa", tmp_path_factory.mktemp("every")) / "pfa", "cpu")


def fold_of(model: Model) -> StepFold:
    assert isinstance(model.fold, StepFold)
    return model.fold


def test_the_state_after_all_answers_says_what_the_whole_history_does(model: Model) -> None:
    row = rungs.folded(model, fold_of(model))
    assert row.ok
    assert row.rung == "fold"
    lengths = {int(what.split(" ")[0]) for what, _, _ in fold_of(model).pairs()}
    assert {0, 1} < lengths
    assert max(lengths) > 100


@dataclass(frozen=True)
class Forgetful:
    """A step that takes every answer for a wrong one."""

    step: Runs

    def run(self, requests: Sequence[Arrays], /) -> list[Arrays]:
        return self.step.run([{**one, "response": np.zeros_like(one["response"])} for one in requests])


def test_a_step_that_is_not_that_of_the_sequence_breaks_the_rung(model: Model) -> None:
    fold = fold_of(model)
    row = rungs.folded(model, replace(fold, step=Forgetful(fold.step)))
    assert not row.ok
    assert "answers of golden" in row.where


def test_parts_of_it_and_other_models_have_no_such_rung(model: Model, tmp_path_factory: pytest.TempPathFactory) -> None:
    models = repository("pfa", tmp_path_factory.mktemp("every"))
    assert rungs.opened(models / "pfa_ask", "cpu").fold is None
