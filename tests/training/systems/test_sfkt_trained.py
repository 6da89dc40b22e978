"""What SFKT learns of students who neither learn nor forget, asked in any order: there every answer counts for ever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingData
from training.fit import FitOptions, FitResult, fit
from training.layers.answers import AnswerCounts
from training.system import Wanted
from training.systems.sfkt import SFKT, SYSTEM, Config
from training.systems.sfkt.augmentation import History, augmented
from training.tasks.tracing import TRACING

pytestmark = pytest.mark.long

_BEYOND = "auc 101-"
_CONFIG = Config(dim=16, window=8, epochs=3, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data() -> TracingData:
    steady = replace(
        Simulation(),
        students=120,
        concepts=10,
        learning=(0.0,),
        forgetting=(0.0,),
        profile=0.0,
        start_spread=1.5,
        answers=150,
        length_spread=0.3,
        most_answers=250,
    )
    return TRACING.view(simulate(steady).interactions, Wanted(SYSTEM.reads, _CONFIG.max_length, {}))


@pytest.fixture(scope="module")
def trained(data: TracingData, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit(SYSTEM, _CONFIG, data, FitOptions(run=tmp_path_factory.mktemp("runs") / "both", quiet=True))


def test_beyond_a_hundred_answers_totals_are_worth_more_than_the_window(
    data: TracingData, trained: FitResult, tmp_path: Path
) -> None:
    window = fit(SYSTEM, replace(_CONFIG, past="window"), data, FitOptions(run=tmp_path / "window", quiet=True))
    assert trained.metrics["test"][_BEYOND] > window.metrics["test"][_BEYOND] + 0.03


def test_changed_histories_of_a_new_student_are_closer_than_those_of_others(
    data: TracingData, trained: FitResult
) -> None:
    built = trained.module.eval()
    assert isinstance(built, SFKT)
    assert built.peers is not None
    assert built.contrast is not None
    new = np.flatnonzero(np.bincount(data.test.measured().sample, data.test.measured().is_new) > 0)
    batch = data.test.batch(new)
    history = History(batch.questions, batch.responses, batch.length)
    torch.manual_seed(0)
    questions = torch.tensor([3, 14, 15, 9, 26]).expand(len(new), -1)
    with torch.no_grad():
        views = [built.read(built.of(augmented(history, built.peers)), questions).fused for _ in range(2)]
        one, other = (functional.normalize(built.contrast.projected(view), dim=-1) for view in views)
    alike = torch.einsum("akd,bkd->ab", one, other) / 5
    own = alike.diagonal()
    others = (alike.sum(dim=1) - own) / (len(new) - 1)
    assert (own > others).float().mean() > 0.9
    assert (own - others).mean() > 0.07


def test_of_one_without_answers_it_says_how_others_answered(data: TracingData, trained: FitResult) -> None:
    built = trained.module.eval()
    assert isinstance(built, SFKT)
    wrong, right = AnswerCounts.of(data).question
    questions = torch.arange(1, len(right))
    with torch.no_grad():
        said = built.ask(built.start(torch.zeros(len(questions), dtype=torch.int64)), questions).sigmoid().numpy()
    share = right[1:] / (wrong + right)[1:]
    assert np.corrcoef(said, share)[0, 1] > 0.8
    assert said.mean() == pytest.approx(share.mean(), abs=0.15)
